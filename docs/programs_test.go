package docs

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/tidelay/tidelay/pkg/plugin"
)

// programs are the flags of each program with their defaults, as --help has
// them. They are built once, as the Makefile builds them, so that the compiled
// packages are there already.
var programs = sync.OnceValues(func() (map[string]map[string]string, error) {
	bin, err := os.MkdirTemp("", "tidelay-docs")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	build := exec.Command("go", "build", "-tags", "nomsgpack", "-ldflags", "-s -w", "-o", bin+"/", "./cmd/...")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	files, err := os.ReadDir(bin)
	if err != nil {
		return nil, err
	}
	all := map[string]map[string]string{}
	for _, file := range files {
		help := exec.Command(filepath.Join(bin, file.Name()), "--help")
		help.Env = []string{} // no default comes from this machine
		out, err := help.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%s --help: %w\n%s", file.Name(), err, out)
		}
		if all[file.Name()] = parseHelp(string(out)); len(all[file.Name()]) == 0 {
			return nil, fmt.Errorf("%s --help names no flag:\n%s", file.Name(), out)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("cmd has no program")
	}
	return all, nil
})

var (
	flagLine     = regexp.MustCompile(`^\s+(?:-\w, )?--?([a-z][a-z-]*)`)
	flagDefault  = regexp.MustCompile(`\(default "?([^")]*)"?\)$`)
	flagMention  = regexp.MustCompile(`(?:^|[^\w-])--([a-z][a-z-]*)`)
	flagsOfTools = toolFlags()
)

// parseHelp reads the usage of package flag, or of pflag.
func parseHelp(usage string) map[string]string {
	flags := map[string]string{}
	name := ""
	for line := range strings.Lines(usage) {
		if match := flagLine.FindStringSubmatch(line); match != nil {
			name = match[1]
			flags[name] = ""
		}
		if match := flagDefault.FindStringSubmatch(strings.TrimSpace(line)); match != nil && name != "" {
			flags[name] = match[1]
		}
	}
	return flags
}

func flagsOf(t *testing.T, program string) map[string]string {
	t.Helper()
	all, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	if all[program] == nil {
		t.Fatalf("there is no program %s", program)
	}
	return all[program]
}

// Every flag that is named is one of the programs', or of a tool that the
// documents use.
func TestFlags(t *testing.T) {
	known := map[string]bool{"help": true}
	all, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	for _, flags := range all {
		for name := range flags {
			known[name] = true
		}
	}
	for _, cmd := range plugin.Command().Commands() {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
	}
	for _, p := range allPages(t) {
		for _, span := range p.spans {
			for _, match := range flagMention.FindAllStringSubmatch(span, -1) {
				if !known[match[1]] && !flagsOfTools[match[1]] {
					t.Errorf("%s: `%s`: no program has the flag --%s", p.name, span, match[1])
				}
			}
		}
	}
}

// The table of the agent's flags has each flag and its default.
func TestAgentFlags(t *testing.T) {
	documented := map[string]string{}
	for _, row := range pageNamed(t, "docs/agent.md").tableUnder(t, "flags").rows {
		documented[strings.Trim(row[0], "`-")] = strings.Trim(row[1], "`")
	}
	for name, standard := range flagsOf(t, "agent") {
		told, ok := documented[name]
		delete(documented, name)
		switch {
		case !ok:
			t.Errorf("agent.md leaves out --%s", name)
		case standard == "" && (told == "false" || told == "0s" || told == ""): // package flag shows no zero values
		case strings.HasPrefix(standard, "those of the default route") && told == "the default route's":
		case told != standard:
			t.Errorf("agent.md: the default of --%s is %q, and --help has %q", name, told, standard)
		}
	}
	for name := range documented {
		t.Errorf("agent.md has --%s, and the agent has not", name)
	}
}

// operations.md has each flag of injector and controller: those of both in a
// table, and those of one behind it.
func TestServerFlags(t *testing.T) {
	injector, controller := flagsOf(t, "injector"), flagsOf(t, "controller")
	var both, one []string
	for name := range injector {
		if _, ok := controller[name]; ok {
			both = append(both, "--"+name)
		} else {
			one = append(one, "--"+name)
		}
	}
	for name := range controller {
		if _, ok := injector[name]; !ok {
			one = append(one, "--"+name)
		}
	}
	p := pageNamed(t, "docs/operations.md")
	told := slices.DeleteFunc(p.tableUnder(t, "settings").codes(), func(s string) bool { return !strings.HasPrefix(s, "--") })
	sorted := func(s []string) []string { return slices.Sorted(slices.Values(s)) }
	if diff := cmp.Diff(sorted(both), sorted(told)); diff != "" {
		t.Errorf("flags that injector and controller share (-programs +operations.md):\n%s", diff)
	}
	for _, name := range one {
		if !slices.Contains(p.spans, name) {
			t.Errorf("operations.md leaves out %s", name)
		}
	}
}

// names of a map, sorted.
func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
