package control

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/fault"
)

func testControl(e Engine, dir string) *Control {
	return New(e, dir, 0, slog.New(slog.DiscardHandler))
}

func apply(c *Control, faults ...fault.Fault) error {
	_, err := c.Change(Request{Edit: ReplaceAll(faults)})
	return err
}

func sameFaults(a []fault.Fault, b ...fault.Fault) bool {
	return newSet(a).Revision == newSet(b).Revision
}

func TestNextAgentRestoresTheFaults(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	f := late(20 * time.Millisecond)
	f.ExpiresAt = time.Now().Add(time.Hour)
	if err := apply(testControl(&enginetest.Engine{}, dir), f); err != nil {
		t.Fatal(err)
	}
	next := &enginetest.Engine{}
	c := testControl(next, dir)
	if err := c.Restore(); err != nil {
		t.Fatal(err)
	}
	if !sameFaults(next.Faults, f) || !sameFaults(c.Desired().Faults, f) {
		t.Errorf("the next agent holds %+v and wants %+v, want %+v", next.Faults, c.Desired().Faults, f)
	}
}

// The crash came between the file and the kernel: the kernel still has the
// fault that was to be cleared.
func TestNextAgentFinishesAClear(t *testing.T) {
	dir := t.TempDir()
	if err := (store{dir: dir}).save(newSet(nil), ""); err != nil {
		t.Fatal(err)
	}
	next := enginetest.New(enginetest.Kernel{Faults: []fault.Fault{late(1)}})
	if err := testControl(next, dir).Restore(); err != nil || len(next.Faults) != 0 {
		t.Errorf("restore: %v, holds %+v, want nothing", err, next.Faults)
	}
}

// The deadline passed while no agent was there.
func TestNextAgentEndsWhatIsOver(t *testing.T) {
	dir := t.TempDir()
	over, stays := late(time.Millisecond), late(2*time.Millisecond)
	over.Name, over.ExpiresAt, over.Match.Protocol = "over", time.Now().Add(-time.Second), "udp"
	if err := (store{dir: dir}).save(newSet([]fault.Fault{stays, over}), ""); err != nil {
		t.Fatal(err)
	}
	next := enginetest.New(enginetest.Kernel{Faults: []fault.Fault{stays, over}})
	if err := testControl(next, dir).Restore(); err != nil || !sameFaults(next.Faults, stays) {
		t.Errorf("restore: %v, holds %+v, want %+v", err, next.Faults, stays)
	}
	again := &enginetest.Engine{}
	if err := testControl(again, dir).Restore(); err != nil || !sameFaults(again.Faults, stays) {
		t.Errorf("the agent after that: %v, holds %+v", err, again.Faults)
	}
}

func TestWithoutStoredStateTheKernelIsAdopted(t *testing.T) {
	for name, dir := range map[string]string{"an empty directory": t.TempDir(), "no directory": ""} {
		next := enginetest.New(enginetest.Kernel{Faults: []fault.Fault{late(5 * time.Millisecond)}})
		c := testControl(next, dir)
		c.maxDuration = time.Minute
		if err := c.Restore(); err != nil || len(next.Faults) != 1 || len(c.Desired().Faults) != 1 {
			t.Fatalf("%s: restore: %v, holds %+v, wants %+v", name, err, next.Faults, c.Desired().Faults)
		}
		if left := time.Until(c.Desired().Faults[0].ExpiresAt); left <= 0 || left > time.Minute {
			t.Errorf("%s: with --max-duration=1m it ends in %s", name, left)
		}
	}
}

func TestWhatCannotBeAdoptedIsRemoved(t *testing.T) {
	next := enginetest.New(enginetest.Kernel{AdoptErr: fault.ErrLeftover})
	if err := testControl(next, t.TempDir()).Restore(); err != nil || next.Applied != 1 || len(next.Faults) != 0 {
		t.Errorf("restore: %v, applied %d times, holds %+v", err, next.Applied, next.Faults)
	}
}

func TestAFailedReadAtStartChangesNothing(t *testing.T) {
	next := enginetest.New(enginetest.Kernel{AdoptErr: errors.New("boom"), Faults: []fault.Fault{late(1)}})
	if err := testControl(next, t.TempDir()).Restore(); err == nil || next.Applied != 0 {
		t.Errorf("restore: %v, applied %d times", err, next.Applied)
	}
}

// The next agent restores the faults from before a refused change, and not those
// of the change.
func TestARefusedChangeIsForgotten(t *testing.T) {
	dir := t.TempDir()
	e := &enginetest.Engine{}
	c := testControl(e, dir)
	kept := late(time.Millisecond)
	if err := apply(c, kept); err != nil {
		t.Fatal(err)
	}
	e.ApplyErr = errors.New("boom")
	for name, faults := range map[string][]fault.Fault{"another": {late(time.Second)}, "none": nil} {
		if err := apply(c, faults...); err == nil || !sameFaults(c.Desired().Faults, kept) {
			t.Errorf("change to %s: error %v, wants %+v", name, err, c.Desired().Faults)
		}
		next := &enginetest.Engine{}
		if err := testControl(next, dir).Restore(); err != nil || !sameFaults(next.Faults, kept) {
			t.Errorf("after a refused change to %s: restore: %v, holds %+v", name, err, next.Faults)
		}
	}
}

func TestNothingChangesWhenTheStateCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e := &enginetest.Engine{}
	if err := apply(testControl(e, file), late(1)); err == nil || e.Applied != 0 || !strings.Contains(err.Error(), file) {
		t.Errorf("set with a file for a directory: %v, applied %d times", err, e.Applied)
	}
}

func TestWhatTheEngineLacksIsRefusedBeforeAnythingChanges(t *testing.T) {
	e := enginetest.New(enginetest.Kernel{Lacking: map[fault.Feature]string{fault.FeatureCorrupt: "packets stay in the kernel"}})
	f := late(0)
	f.Impairment.Corrupt = &fault.Chance{Percent: fault.Hundred}
	err := apply(testControl(e, t.TempDir()), f)
	if !errors.Is(err, fault.ErrUnsupported) || !strings.Contains(err.Error(), "corrupt") || e.Applied != 0 {
		t.Errorf("error %v, applied %d times", err, e.Applied)
	}
}

func TestARevisionMustMatch(t *testing.T) {
	e := &enginetest.Engine{}
	c := testControl(e, t.TempDir())
	none := newSet(nil).Revision
	if _, err := c.Change(Request{Edit: ReplaceOne(late(1000)), IfMatch: []string{`"other"`, none}}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Change(Request{Edit: ReplaceOne(late(2000)), IfMatch: []string{none}})
	if !errors.Is(err, ErrStale) || !sameFaults(e.Faults, late(1000)) {
		t.Errorf("a change on an old revision: %v, holds %+v", err, e.Faults)
	}
	if _, err := c.Change(Request{Edit: ReplaceOne(late(2000)), IfMatch: []string{c.Desired().Revision}}); err != nil {
		t.Error(err)
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	e := &enginetest.Engine{}
	c := testControl(e, t.TempDir())
	made, err := c.Change(Request{Edit: ReplaceOne(late(1000)), DryRun: true})
	if err != nil || !sameFaults(made.After.Faults, late(1000)) || e.Applied != 0 || len(c.Desired().Faults) != 0 {
		t.Errorf("dry run: %v, %+v, applied %d times", err, made, e.Applied)
	}
	if _, err := os.Stat(c.store.path()); err == nil {
		t.Error("a dry run wrote a file")
	}
}

func TestDifferences(t *testing.T) {
	named := func(name string, delay time.Duration) fault.Fault { f := late(delay); f.Name = name; return f }
	got := diff([]fault.Fault{named("b", 1), named("c", 1), named("d", 1)}, []fault.Fault{named("a", 1), named("b", 1), named("c", 2)})
	want := map[string]string{"a": api.ActionAdd, "b": api.ActionKeep, "c": api.ActionChange, "d": api.ActionRemove}
	if len(got) != len(want) {
		t.Fatalf("differences %+v", got)
	}
	for i, s := range got {
		if s.Action != want[s.Name] || i > 0 && got[i-1].Name > s.Name || (s.Fault == nil) != (s.Action == api.ActionRemove) {
			t.Errorf("difference %d: %+v", i, s)
		}
	}
}

// late is a latency fault.
func late(delay time.Duration) fault.Fault {
	return fault.Fault{Name: fault.Latency, Match: fault.Match{Direction: fault.Egress}, Impairment: fault.Impairment{Delay: delay}}
}

// A program renews its faults every minute.
func TestARenewalIsStoredAndNotLogged(t *testing.T) {
	dir := t.TempDir()
	e, records := &enginetest.Engine{}, &strings.Builder{}
	c := New(e, dir, 0, slog.New(slog.NewTextHandler(records, nil)))
	f := late(20 * time.Millisecond)
	f.Owner, f.ExpiresAt = "shop", time.Now().Add(time.Minute).Round(0)
	if _, err := c.Change(Request{Edit: ReplaceOwned("shop", []fault.Fault{f})}); err != nil {
		t.Fatal(err)
	}
	logged, revision := records.String(), c.Desired().Revision
	f.ExpiresAt = f.ExpiresAt.Add(time.Minute)
	outcome, err := c.Change(Request{Edit: ReplaceOwned("shop", []fault.Fault{f}), IfMatch: []string{revision}})
	if err != nil {
		t.Fatal(err)
	}
	if records.String() != logged || c.Desired().Revision != revision || outcome.Differences[0].Action != api.ActionKeep {
		t.Errorf("revision %s after %s, %s, logged %s", c.Desired().Revision, revision, outcome.Differences[0].Action, records)
	}
	next := testControl(&enginetest.Engine{}, dir)
	if err := next.Restore(); err != nil {
		t.Fatal(err)
	}
	if got := next.Desired().Faults; len(got) != 1 || !got[0].ExpiresAt.Equal(f.ExpiresAt) || got[0].Owner != "shop" {
		t.Errorf("restored %+v, want %+v", got, f)
	}
}
