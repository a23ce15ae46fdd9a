//go:build apiserver

package apiserver

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// shells are how each shell is started, what has it complete kubectl, or the plugin under its
// own name, and what has Ctrl-G write the line that is being edited to $LINE.
var shells = map[string]struct {
	args                   []string
	kubectl, plugin, start string
}{
	"bash": {
		[]string{"--norc", "--noprofile", "-i"},
		"source <(kubectl completion bash)", "source <(kubectl tidelay completion bash)",
		`source /usr/share/bash-completion/bash_completion
save() { printf %s "$READLINE_LINE" >"$LINE.new"; mv "$LINE.new" "$LINE"; }
bind -x '"\C-g": save'`,
	},
	"zsh": {
		[]string{"-f", "-i"},
		"source <(kubectl completion zsh)", "source <(kubectl tidelay completion zsh)",
		`autoload -U compinit; compinit -u -D
save() { print -rn -- "$BUFFER" >"$LINE.new"; command mv "$LINE.new" "$LINE" }
zle -N save; bindkey -e; bindkey '^G' save`,
	},
	"fish": {
		[]string{"--no-config", "-i"},
		"kubectl completion fish | source", "kubectl tidelay completion fish | source",
		`function save; commandline >"$LINE.new"; command mv "$LINE.new" "$LINE"; end
bind \cg save`,
	},
}

// terminal is a shell at which somebody types.
type terminal struct {
	t     *testing.T
	tty   *os.File
	lines string // the file that Ctrl-G writes

	mu     sync.Mutex
	screen strings.Builder // all that was printed
}

// newTerminal starts a shell with a kubeconfig and the plugin, and has it read scripts.
func newTerminal(t *testing.T, p person, shell, script string) *terminal {
	t.Helper()
	bin, home := t.TempDir(), t.TempDir()
	binary, err := pluginBinary()
	must(t, err)
	must(t, os.Symlink(binary, filepath.Join(bin, "kubectl-tidelay")))
	must(t, os.Symlink(world.kubectl.path, filepath.Join(bin, "kubectl")))
	completer, err := exec.Command(binary, "completion", "kubectl").Output()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(bin, "kubectl_complete-tidelay"), completer, 0o700))

	x := &terminal{t: t, lines: filepath.Join(home, "line")}
	cmd := exec.CommandContext(t.Context(), shell, shells[shell].args...)
	cmd.Dir = home
	cmd.Env = []string{
		"HOME=" + home, "PATH=" + bin + ":" + os.Getenv("PATH"), "KUBECONFIG=" + p.kubeconfig, "LINE=" + x.lines, "TERM=xterm", "LANG=C.UTF-8",
	}
	x.tty, err = pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 200})
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(x, x.tty)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = x.tty.Close()
		<-done
	})
	rc := filepath.Join(home, "rc")
	must(t, os.WriteFile(rc, []byte(shells[shell].start+"\n"+script+"\n"), 0o600))
	x.types("source " + rc + "; echo rea''dy\r")
	x.until(func() error {
		if !strings.Contains(x.printed(), "ready") {
			return errors.New("the shell is not ready")
		}
		return nil
	})
	return x
}

// Write takes what the shell prints.
func (x *terminal) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.screen.Write(p)
}

func (x *terminal) printed() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.screen.String()
}

func (x *terminal) types(keys string) {
	x.t.Helper()
	_, err := x.tty.WriteString(keys)
	must(x.t, err)
}

func (x *terminal) until(check func() error) {
	x.t.Helper()
	if err := pollEvery(x.t.Context(), 20*time.Millisecond, time.Minute, check); err != nil {
		x.t.Fatalf("%v; the terminal has:\n%q", err, x.printed())
	}
}

// completes types a text and Tab, and returns what the line is then.
func (x *terminal) completes(text string) string {
	x.t.Helper()
	must(x.t, os.RemoveAll(x.lines))
	x.types("\x15" + text + "\t\x07") // on an empty line
	var line []byte
	x.until(func() (err error) {
		line, err = os.ReadFile(x.lines)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("nothing came of %q", text)
		}
		return err
	})
	x.types("\x15")
	return strings.TrimSuffix(string(line), "\n")
}

// completions are what is typed behind the name of the program, and what Tab makes of it.
var completions = map[string]string{
	" top":                               " topology ",
	" -n NS set ba":                      " -n NS set basic ",
	" -n NS clear sl":                    " -n NS clear slow-tikv ",
	" -n NS clear thr":                   " -n NS clear three-zones ",
	" run basic tikv-one-sl":             " run basic tikv-one-slow ",
	" topology basic --profile us":       " topology basic --profile us-eu-ap ",
	" set basic 50ms --allow Quo":        " set basic 50ms --allow QuorumLoss ",
	" set basic 50ms --from tifl":        " set basic 50ms --from tiflash",
	` set basic 50ms --from pd\(le`:      ` set basic 50ms --from pd\(leader\)`,
	` set basic 50ms --from tikv,pd\(le`: ` set basic 50ms --from tikv,pd\(leader\)`,
	" set basic 50ms --from 'pd(le":      " set basic 50ms --from 'pd(leader)'",
	` set basic 50ms --from "pd(le`:      ` set basic 50ms --from "pd(leader)"`,
	" set basic 50ms --from tikv,'pd(le": " set basic 50ms --from tikv,'pd(leader)'",
	" set none 50ms --protocol x":        " set none 50ms --protocol x",
}

// The shells themselves complete clusters, selectors, presets, and names of faults: behind
// "kubectl tidelay" by kubectl, and behind "kubectl-tidelay" by the plugin's own scripts.
func TestCompletion(t *testing.T) {
	n := newNamespace(t)
	n.cluster("basic", nil)
	n.make(n.fault("slow-tikv", ""))
	n.make(n.topology("three-zones", ""))
	p := n.person("operator", editRoles...)
	p.allow(access{Verb: "list", Group: "pingcap.com", Resource: "tidbclusters"})
	p.may(access{Verb: "list", Group: faultGroup, Resource: faultResource})
	for shell := range shells {
		for program, script := range map[string]string{"kubectl tidelay": shells[shell].kubectl, "kubectl-tidelay": shells[shell].plugin} {
			t.Run(shell+" "+program, func(t *testing.T) {
				t.Parallel()
				x := newTerminal(t, p, shell, script)
				for text, want := range completions {
					text, want = program+strings.ReplaceAll(text, "NS", n.name), program+strings.ReplaceAll(want, "NS", n.name)
					got := x.completes(text)
					switch isQuoted := strings.ContainsAny(text, `'"`); {
					case shell == "fish":
						want, got = strings.TrimSpace(want), strings.TrimSpace(got) // a space may follow
					case isQuoted:
						want = text // the scripts of bash and zsh ask nobody about a quote that is open
					case shell == "zsh":
					default:
						got = escaped.Replace(got) // bash may escape a comma; kubectl up to 1.33 no parenthesis
					}
					if got != want {
						t.Errorf("%q becomes %q, want %q", text, got, want)
					}
				}
			})
		}
	}
}

// escaped puts one backslash before each parenthesis, and none before a comma.
var escaped = strings.NewReplacer(`\,`, ",", `\(`, `\(`, `\)`, `\)`, "(", `\(`, ")", `\)`)

// Where the API server is gone, or does not answer, the line stays as it is, and nothing is
// printed onto it.
func TestCompletionWithoutAPIServer(t *testing.T) {
	n := newNamespace(t)
	gone := n.person("gone")
	gone.kubeconfig = kubeconfigOfNobody(t, gone.kubeconfig)
	g := newGate(t, injectorName)
	g.requests.Lock()
	t.Cleanup(g.requests.Unlock)
	slow := gone
	slow.kubeconfig = g.kubeconfig
	for name, p := range map[string]person{"gone": gone, "slow": slow} {
		for shell := range shells {
			t.Run(shell+", "+name, func(t *testing.T) {
				t.Parallel()
				x := newTerminal(t, p, shell, shells[shell].kubectl)
				for _, text := range []string{"kubectl tidelay set ba", "kubectl tidelay clear x"} {
					if got := x.completes(text); got != text {
						t.Errorf("%q becomes %q", text, got)
					}
				}
				for _, word := range []string{"error", "refused", "dial", "Client.Timeout"} {
					if strings.Contains(x.printed(), word) {
						t.Errorf("the terminal has %q:\n%q", word, x.printed())
					}
				}
			})
		}
	}
}
