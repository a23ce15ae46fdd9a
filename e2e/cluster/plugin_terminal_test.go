//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// Ctrl-C while the plugin waits clears what it has made, and puts back what it has changed.
// In a pipe it waits where it is asked to, at a terminal always.
func TestPluginInterrupted(t *testing.T) {
	ctx := onFaulted(t)
	said, status := interrupted(t, setSlowTiKV(ctx, "50ms", "--wait"))
	wantSaid(t, said, status, 1, "interrupted: it was cleared")
	var f v1alpha1.NetworkFault
	if err := theFaulted.Get(ctx, slowTiKVFault, theFaulted.namespace, &f); !apierrors.IsNotFound(err) {
		t.Errorf("NetworkFault %s is still there: %v", slowTiKVFault, err)
	}
	theFaulted.wantFlat(ctx, t, "cleared by a signal")

	if out, err := setSlowTiKV(ctx, "50ms").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	theFaulted.wantMatrix(ctx, t, "set in a pipe", slowTiKV(added))
	said, status = atTerminal(t, setSlowTiKV(ctx, "80ms"), isWaiting, ctrlC)
	wantSaid(t, said, status, 1, "interrupted: it is again what it was before")
	theFaulted.wantInForce(ctx, t)
	theFaulted.wantMatrix(ctx, t, "put back by Ctrl-C at a terminal", slowTiKV(added))
}

// At a terminal the plugin waits until agents have measured what was asked for and says what,
// in colours unless the person wants none. It is asked again where a busy machine has made
// packets later than that.
func TestPluginWaits(t *testing.T) {
	ctx := onFaulted(t)
	pair := regexp.MustCompile(`(?m)^\S+ +\S+ +\S+ +50ms +(\S+) +Right$`)
	for _, test := range []struct{ environment, green string }{{"NO_COLOR=", "\x1b[32m"}, {"NO_COLOR=1", ""}} {
		verified := test.green + "measured as asked for at 2/2 pods"
		err := theFaulted.poll(ctx, func(ctx context.Context) error {
			command := setSlowTiKV(ctx, "50ms", "--to", "pd(0)")
			command.Env = append(command.Env, test.environment)
			start := time.Now()
			said, status := atTerminal(t, command, "", "")
			t.Logf("%s: exit status %d after %s", test.environment, status, time.Since(start).Round(time.Second/10))
			if strings.Contains(said, "\x1b[") != (test.green != "") {
				t.Errorf("%s: colours, or none:\n%q", test.environment, said)
			}
			pairs := pair.FindAllStringSubmatch(said, -1)
			if status != 0 || !strings.Contains(said, verified) || len(pairs) != 1 {
				return fmt.Errorf("exit status %d, want 0, a pair, and %q:\n%q", status, verified, said)
			}
			if rtt, err := time.ParseDuration(pairs[0][1]); err != nil || !is(rtt, added) {
				return fmt.Errorf("%s: measured %s, %w", pairs[0][0], rtt, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	theFaulted.wantMatrix(ctx, t, "measured by agents", between([]string{"tikv-0"}, []string{"pd-0"}, added))
}

// slowTiKVFault is the fault that setSlowTiKV sets where nobody says to whom.
const slowTiKVFault = faulted + "-tikv-0"

// setSlowTiKV returns the plugin that makes what goes between tikv-0 and the others late.
func setSlowTiKV(ctx context.Context, rtt string, more ...string) *exec.Cmd {
	args := append([]string{"tidelay", "set", faulted, rtt, "--from", "tikv(0)"}, more...)
	return user{kubeconfig}.command(ctx, theFaulted.namespace, args...)
}

// isWaiting is what the plugin says when a fault is in force, and it waits for measurements.
const isWaiting = "\nmeasuring"

const ctrlC = "\x03"

// interrupted runs a command in a pipe, and sends it Ctrl-C's signal once it waits.
func interrupted(t *testing.T, command *exec.Cmd) (said string, status int) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	command.Stdout, command.Stderr = in, in
	err = command.Start()
	_ = in.Close()
	if err != nil {
		t.Fatal(err)
	}
	return converse(t, command, out, isWaiting, func() error { return command.Process.Signal(os.Interrupt) })
}

// atTerminal runs a command at a terminal of its own, and types something once it has said
// until; nothing if that is "".
func atTerminal(t *testing.T, command *exec.Cmd, until, typed string) (said string, status int) {
	t.Helper()
	terminal, err := pty.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	said, status = converse(t, command, terminal, until, func() error {
		_, err := io.WriteString(terminal, typed)
		return err
	})
	return strings.ReplaceAll(said, "\r\n", "\n"), status
}

// converse returns what a command says and its exit status. When it has said until, which is
// at the beginning of a line, it is answered.
func converse(t *testing.T, command *exec.Cmd, out io.Reader, until string, answer func() error) (said string, status int) {
	t.Helper()
	var text strings.Builder
	chunk := make([]byte, 1024)
	for isOver := false; !isOver; {
		n, err := out.Read(chunk)
		text.Write(chunk[:n])
		if until != "" && strings.Contains(text.String(), until) {
			until = ""
			if err := answer(); err != nil {
				t.Error(err)
			}
		}
		isOver = err != nil // io.EOF, or EIO of a terminal at which all programs have ended
	}
	if err := command.Wait(); command.ProcessState == nil {
		t.Fatal(err)
	}
	if until != "" {
		t.Errorf("it did not say %q", until)
	}
	return text.String(), command.ProcessState.ExitCode()
}

// wantSaid checks what was said at the end of a command, and its exit status.
func wantSaid(t *testing.T, said string, status, want int, words string) {
	t.Helper()
	if status != want || !strings.Contains(said, words) {
		t.Errorf("exit status %d, want %d and %q:\n%s", status, want, words, said)
	}
}
