package agent

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/fault"
)

func newControl(t *testing.T, e engine, dir string) *control {
	t.Helper()
	return &control{engine: e, store: store{dir: dir}, log: slog.New(slog.DiscardHandler)}
}

var twentyMS = fault.Fault{Name: fault.Latency, Delay: 20 * time.Millisecond}

func TestNextAgentRestoresTheFault(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	if _, err := newControl(t, &fakeEngine{}, dir).set(twentyMS); err != nil {
		t.Fatal(err)
	}
	next := &fakeEngine{}
	if err := newControl(t, next, dir).restore(); err != nil {
		t.Fatal(err)
	}
	if next.held == nil || *next.held != twentyMS {
		t.Errorf("the next agent holds %+v, want %+v", next.held, twentyMS)
	}
}

// The crash came between the file and the kernel: the kernel still has the
// fault that was to be cleared.
func TestNextAgentFinishesAClear(t *testing.T) {
	dir := t.TempDir()
	if err := (store{dir: dir}).save(nil); err != nil {
		t.Fatal(err)
	}
	next := &fakeEngine{held: &twentyMS}
	if err := newControl(t, next, dir).restore(); err != nil || next.held != nil {
		t.Errorf("restore: %v, holds %+v, want nothing", err, next.held)
	}
}

func TestWithoutStoredStateTheKernelIsKept(t *testing.T) {
	for name, dir := range map[string]string{"an empty directory": t.TempDir(), "no directory": ""} {
		next := &fakeEngine{held: &twentyMS}
		if err := newControl(t, next, dir).restore(); err != nil || next.held == nil || next.cleared != 0 {
			t.Errorf("%s: restore: %v, holds %+v after %d clears", name, err, next.held, next.cleared)
		}
	}
}

// What the kernel refused must not come back with the next agent.
func TestARefusedFaultIsForgotten(t *testing.T) {
	dir := t.TempDir()
	c := newControl(t, &fakeEngine{setErr: errors.New("boom")}, dir)
	if _, err := c.set(twentyMS); err == nil {
		t.Fatal("set: no error")
	}
	next := &fakeEngine{}
	if err := newControl(t, next, dir).restore(); err != nil || next.held != nil {
		t.Errorf("restore: %v, holds %+v, want nothing", err, next.held)
	}
}

// A broken tree can't be read, and is what a set or a clear mends.
func TestAChangeDoesNotNeedToReadWhatItReplaces(t *testing.T) {
	for name, change := range map[string]func(c *control) error{
		"set":   func(c *control) error { _, err := c.set(twentyMS); return err },
		"clear": func(c *control) error { _, err := c.clear(); return err },
	} {
		e := &mendableEngine{}
		if err := change(newControl(t, e, t.TempDir())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// mendableEngine can be read only after it was set or cleared.
type mendableEngine struct {
	fakeEngine
	mended bool
}

func (e *mendableEngine) Set(f fault.Fault) error { e.mended = true; return e.fakeEngine.Set(f) }
func (e *mendableEngine) Clear() error            { e.mended = true; return e.fakeEngine.Clear() }
func (e *mendableEngine) State() (fault.State, error) {
	if !e.mended {
		return fault.State{}, errors.New("its rules are not all in place")
	}
	return e.fakeEngine.State()
}

// What was to be cleared must not come back with the next agent.
func TestAFailedClearIsFinishedByTheNextAgent(t *testing.T) {
	dir := t.TempDir()
	e := &fakeEngine{}
	c := newControl(t, e, dir)
	if _, err := c.set(twentyMS); err != nil {
		t.Fatal(err)
	}
	e.clearErr = errors.New("boom")
	if _, err := c.clear(); err == nil {
		t.Fatal("clear: no error")
	}
	next := &fakeEngine{held: &twentyMS}
	if err := newControl(t, next, dir).restore(); err != nil || next.held != nil {
		t.Errorf("restore: %v, holds %+v, want nothing", err, next.held)
	}
}

func TestNothingChangesWhenTheStateCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e := &fakeEngine{}
	_, err := newControl(t, e, file).set(twentyMS)
	if err == nil || e.held != nil || !strings.Contains(err.Error(), file) {
		t.Errorf("set with a file for a directory: %v, holds %+v", err, e.held)
	}
}

func TestADamagedFileIsSetAsideAndReported(t *testing.T) {
	for name, content := range map[string]string{
		"nothing":            "",
		"half a file":        `{"version":1,"faults":[{"name":"lat`,
		"another version":    `{"version":2,"faults":[]}`,
		"another fault":      `{"version":1,"faults":[{"name":"loss","direction":"egress","delay":"1ms"}]}`,
		"an impossible one":  `{"version":1,"faults":[{"name":"latency","direction":"egress","delay":"-1ms"}]}`,
		"a delay of nothing": `{"version":1,"faults":[{"name":"latency","direction":"egress","delay":"0"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(store{dir: dir}.path(), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			e := &fakeEngine{held: &twentyMS}
			if err := newControl(t, e, dir).restore(); !errors.Is(err, errDamaged) {
				t.Fatalf("restore: %v, want errDamaged", err)
			}
			if e.held == nil {
				t.Error("the kernel was changed on the word of a damaged file")
			}
			aside, err := filepath.Glob(filepath.Join(dir, "state.json.damaged-*"))
			if err != nil || len(aside) != 1 {
				t.Errorf("set aside: %v, %v", aside, err)
			}
			if err := newControl(t, e, dir).restore(); err != nil {
				t.Errorf("the agent after that: %v", err)
			}
		})
	}
}

func FuzzDecodeState(f *testing.F) {
	f.Add([]byte(`{"version":1,"faults":[]}`))
	f.Add([]byte(`{"version":1,"faults":[{"name":"latency","direction":"egress","delay":"20ms"}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		held, err := decodeState(content)
		if err == nil && held != nil && (held.Delay < fault.MinDelay || held.Delay > fault.MaxDelay) {
			t.Errorf("decodeState(%q) = %+v", content, held)
		}
	})
}
