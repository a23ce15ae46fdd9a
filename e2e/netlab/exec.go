//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// Start starts a program in the host's namespace.
func (h *Host) Start(cmd *exec.Cmd) error { return h.Do(cmd.Start) }

// Run starts a program and returns its standard output when it ends. The error
// of a program that fails has its standard error in it.
func (h *Host) Run(cmd *exec.Cmd) (string, error) {
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := h.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%s: %s: %w\n%s", h.Name, strings.Join(cmd.Args, " "), err, complaint.String())
	}
	return out.String(), err
}

// Output runs a command whose words hold no spaces.
func (h *Host) Output(command string) (string, error) {
	words := strings.Fields(command)
	if len(words) == 0 {
		return "", errors.New("an empty command")
	}
	return h.Run(exec.Command(words[0], words[1:]...))
}

// Exec is Output for a command that must not fail.
func (h *Host) Exec(t testing.TB, command string) string {
	t.Helper()
	out, err := h.Output(command)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Shell runs a shell script, in which no command may fail.
func (h *Host) Shell(t testing.TB, script string) string {
	t.Helper()
	out, err := h.Run(exec.Command("sh", "-euc", script))
	if err != nil {
		t.Fatal(err)
	}
	return out
}
