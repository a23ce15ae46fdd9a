package agent

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

func testControl(e engine, dir string) *control {
	return newControl(e, store{dir: dir}, slog.New(slog.DiscardHandler))
}

func apply(c *control, faults ...fault.Fault) error {
	_, err := c.change(request{edit: replaceAll(faults)})
	return err
}

func sameFaults(a []fault.Fault, b ...fault.Fault) bool { return revision(a) == revision(b) }

func TestNextAgentRestoresTheFaults(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	f := late(20 * time.Millisecond)
	f.ExpiresAt = time.Now().Add(time.Hour)
	if err := apply(testControl(&fakeEngine{}, dir), f); err != nil {
		t.Fatal(err)
	}
	next := &fakeEngine{}
	c := testControl(next, dir)
	if err := c.restore(0, nil); err != nil {
		t.Fatal(err)
	}
	if !sameFaults(next.held, f) || !sameFaults(c.faults(), f) {
		t.Errorf("the next agent holds %+v and wants %+v, want %+v", next.held, c.faults(), f)
	}
}

// The crash came between the file and the kernel: the kernel still has the
// fault that was to be cleared.
func TestNextAgentFinishesAClear(t *testing.T) {
	dir := t.TempDir()
	if err := (store{dir: dir}).save(nil); err != nil {
		t.Fatal(err)
	}
	next := &fakeEngine{held: []fault.Fault{late(1)}}
	if err := testControl(next, dir).restore(0, nil); err != nil || len(next.held) != 0 {
		t.Errorf("restore: %v, holds %+v, want nothing", err, next.held)
	}
}

// The deadline passed while no agent was there.
func TestNextAgentEndsWhatIsOver(t *testing.T) {
	dir := t.TempDir()
	over, stays := late(time.Millisecond), late(2*time.Millisecond)
	over.Name, over.ExpiresAt, over.Match.Protocol = "over", time.Now().Add(-time.Second), "udp"
	if err := (store{dir: dir}).save([]fault.Fault{stays, over}); err != nil {
		t.Fatal(err)
	}
	next := &fakeEngine{held: []fault.Fault{stays, over}}
	if err := testControl(next, dir).restore(0, nil); err != nil || !sameFaults(next.held, stays) {
		t.Errorf("restore: %v, holds %+v, want %+v", err, next.held, stays)
	}
	again := &fakeEngine{}
	if err := testControl(again, dir).restore(0, nil); err != nil || !sameFaults(again.held, stays) {
		t.Errorf("the agent after that: %v, holds %+v", err, again.held)
	}
}

func TestWithoutStoredStateTheKernelIsAdopted(t *testing.T) {
	for name, dir := range map[string]string{"an empty directory": t.TempDir(), "no directory": ""} {
		next := &fakeEngine{held: []fault.Fault{late(5 * time.Millisecond)}}
		c := testControl(next, dir)
		if err := c.restore(time.Minute, nil); err != nil || len(next.held) != 1 || len(c.faults()) != 1 {
			t.Fatalf("%s: restore: %v, holds %+v, wants %+v", name, err, next.held, c.faults())
		}
		if left := time.Until(c.faults()[0].ExpiresAt); left <= 0 || left > time.Minute {
			t.Errorf("%s: with --max-duration=1m it ends in %s", name, left)
		}
	}
}

func TestWhatCannotBeAdoptedIsRemoved(t *testing.T) {
	next := &fakeEngine{adoptErr: fault.ErrLeftover}
	if err := testControl(next, t.TempDir()).restore(0, nil); err != nil || next.applied != 1 || len(next.held) != 0 {
		t.Errorf("restore: %v, applied %d times, holds %+v", err, next.applied, next.held)
	}
}

func TestAFailedReadAtStartChangesNothing(t *testing.T) {
	next := &fakeEngine{adoptErr: errors.New("boom"), held: []fault.Fault{late(1)}}
	if err := testControl(next, t.TempDir()).restore(0, nil); err == nil || next.applied != 0 {
		t.Errorf("restore: %v, applied %d times", err, next.applied)
	}
}

// What the kernel refused must not come back with the next agent, and what
// held before it must.
func TestARefusedChangeIsForgotten(t *testing.T) {
	dir := t.TempDir()
	e := &fakeEngine{}
	c := testControl(e, dir)
	held := late(time.Millisecond)
	if err := apply(c, held); err != nil {
		t.Fatal(err)
	}
	e.applyErr = errors.New("boom")
	for name, faults := range map[string][]fault.Fault{"another": {late(time.Second)}, "none": nil} {
		if err := apply(c, faults...); err == nil || !sameFaults(c.faults(), held) {
			t.Errorf("change to %s: error %v, wants %+v", name, err, c.faults())
		}
		next := &fakeEngine{}
		if err := testControl(next, dir).restore(0, nil); err != nil || !sameFaults(next.held, held) {
			t.Errorf("after a refused change to %s: restore: %v, holds %+v", name, err, next.held)
		}
	}
}

func TestNothingChangesWhenTheStateCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e := &fakeEngine{}
	if err := apply(testControl(e, file), late(1)); err == nil || e.applied != 0 || !strings.Contains(err.Error(), file) {
		t.Errorf("set with a file for a directory: %v, applied %d times", err, e.applied)
	}
}

func TestWhatTheEngineLacksIsRefusedBeforeAnythingChanges(t *testing.T) {
	e := &fakeEngine{lacks: map[fault.Feature]string{fault.FeatureCorrupt: "packets stay in the kernel"}}
	f := late(0)
	f.Impairment.Corrupt = &fault.Chance{Percent: fault.Hundred}
	err := apply(testControl(e, t.TempDir()), f)
	if !errors.Is(err, fault.ErrUnsupported) || !strings.Contains(err.Error(), "corrupt") || e.applied != 0 {
		t.Errorf("error %v, applied %d times", err, e.applied)
	}
}

func TestARevisionMustMatch(t *testing.T) {
	e := &fakeEngine{}
	c := testControl(e, t.TempDir())
	none := revision(nil)
	if _, err := c.change(request{edit: replaceOne(late(1000)), match: []string{`"other"`, none}}); err != nil {
		t.Fatal(err)
	}
	_, err := c.change(request{edit: replaceOne(late(2000)), match: []string{none}})
	if !errors.Is(err, errStale) || !sameFaults(e.held, late(1000)) {
		t.Errorf("a change on an old revision: %v, holds %+v", err, e.held)
	}
	if _, err := c.change(request{edit: replaceOne(late(2000)), match: []string{revision(c.faults())}}); err != nil {
		t.Error(err)
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	e := &fakeEngine{}
	c := testControl(e, t.TempDir())
	made, err := c.change(request{edit: replaceOne(late(1000)), dryRun: true})
	if err != nil || !sameFaults(made.after, late(1000)) || e.applied != 0 || len(c.faults()) != 0 {
		t.Errorf("dry run: %v, %+v, applied %d times", err, made, e.applied)
	}
	if _, err := os.Stat(c.store.path()); err == nil {
		t.Error("a dry run wrote a file")
	}
}

func TestSteps(t *testing.T) {
	named := func(name string, delay time.Duration) fault.Fault { f := late(delay); f.Name = name; return f }
	got := steps([]fault.Fault{named("b", 1), named("c", 1), named("d", 1)}, []fault.Fault{named("a", 1), named("b", 1), named("c", 2)})
	want := map[string]string{"a": api.ActionAdd, "b": api.ActionKeep, "c": api.ActionChange, "d": api.ActionRemove}
	if len(got) != len(want) {
		t.Fatalf("steps %+v", got)
	}
	for i, s := range got {
		if s.action != want[s.name] || i > 0 && got[i-1].name > s.name || (s.fault == nil) != (s.action == api.ActionRemove) {
			t.Errorf("step %d: %+v", i, s)
		}
	}
}
