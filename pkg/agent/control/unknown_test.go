package control

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/fault"
)

// hidden stores a fault and makes the state directory unreadable until the returned
// function is called.
func hidden(t *testing.T, dir string, stored fault.Fault) (show func()) {
	t.Helper()
	aside := dir + ".aside"
	if err := errors.Join((store{dir: dir}).save(newSet([]fault.Fault{stored}), ""), os.Rename(dir, aside), os.WriteFile(dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(os.Remove(dir), os.Rename(aside, dir)); err != nil {
			t.Fatal(err)
		}
	}
}

// As long as the stored faults can't be read, nothing that depends on them is changed,
// neither in the kernel nor in the file. All of them can be ended.
func TestWhatIsNotKnownIsNotChanged(t *testing.T) {
	stored, left, other := late(time.Millisecond), late(2*time.Millisecond), late(3*time.Millisecond)
	other.Name, other.Owner, other.Match.Protocol = "other", "zones", fault.ProtocolUDP
	for name, c := range map[string]struct {
		request       Request
		refused, ends bool
	}{
		"nobody asks":        {request: Request{}},
		"set one":            {request: Request{Edit: ReplaceOne(other)}, refused: true},
		"set what is owned":  {request: Request{Edit: ReplaceOwned("zones", []fault.Fault{other})}, refused: true},
		"end what is owned":  {request: Request{Edit: ReplaceOwned("zones", nil)}, refused: true},
		"end one":            {request: Request{Edit: RemoveOne(fault.Latency, false)}, refused: true},
		"end one by name":    {request: Request{Edit: RemoveOne(fault.Latency, true)}, refused: true},
		"replace all":        {request: Request{Edit: ReplaceAll([]fault.Fault{other})}, refused: true},
		"try to replace all": {request: Request{Edit: ReplaceAll([]fault.Fault{other}), DryRun: true}, refused: true},
		"end what was seen":  {request: Request{Edit: RemoveAll(), IfMatch: []string{newSet(nil).Revision}}, refused: true},
		"try to end all":     {request: Request{Edit: RemoveAll(), DryRun: true}},
		"end all":            {request: Request{Edit: RemoveAll()}, ends: true},
		"replace by nothing": {request: Request{Edit: ReplaceAll([]fault.Fault{})}, ends: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			show := hidden(t, dir, stored)
			e := enginetest.New(enginetest.Kernel{Faults: []fault.Fault{left}})
			c1 := testControl(e, dir)
			if err := c1.Follow(fault.Scope{}); err != nil || e.Applied != 0 {
				t.Errorf("follow: %v, applied %d times", err, e.Applied)
			}
			if err := c1.Restore(); !errors.Is(err, ErrUnknown) || e.Applied != 0 || !strings.Contains(err.Error(), dir) {
				t.Errorf("restore: %v, applied %d times", err, e.Applied)
			}
			if now, _ := c1.Read(); !errors.Is(now.Unknown, ErrUnknown) || !errors.Is(c1.Unknown(), ErrUnknown) {
				t.Errorf("the status says %v", now.Unknown)
			}
			if c.request.Edit.after != nil {
				_, err := c1.Change(c.request)
				if c.refused != errors.Is(err, ErrUnknown) || !c.refused && err != nil {
					t.Errorf("change: %v, refused should be %t", err, c.refused)
				}
			}
			if _, err := tick(c1); err != nil {
				t.Error(err)
			}
			want, kernel := stored, []fault.Fault{left}
			if c.ends {
				kernel = nil
			}
			if !sameFaults(e.Get().Faults, kernel...) {
				t.Errorf("the kernel has %+v", e.Get().Faults)
			}
			show()
			if err := c1.Restore(); err != nil {
				t.Fatal(err)
			}
			if c.ends {
				if len(e.Get().Faults) != 0 || len(c1.Desired().Faults) != 0 {
					t.Errorf("desired %+v, the kernel has %+v", c1.Desired().Faults, e.Get().Faults)
				}
			} else if !sameFaults(e.Get().Faults, want) || !sameFaults(c1.Desired().Faults, want) {
				t.Errorf("desired %+v, the kernel has %+v", c1.Desired().Faults, e.Get().Faults)
			}
			if now, err := c1.Read(); err != nil || now.Warning != "" || now.Unknown != nil {
				t.Errorf("%+v, %v", now, err)
			}
		})
	}
}

// A change reads what is stored if nobody has done so before.
func TestAChangeKnowsWhatIsStored(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	stored, over, other := late(time.Millisecond), late(2*time.Millisecond), late(3*time.Millisecond)
	over.Name, over.Match.Protocol, over.ExpiresAt = "over", fault.ProtocolTCP, time.Now().Add(-time.Second)
	other.Name, other.Match.Protocol = "other", fault.ProtocolUDP
	if err := (store{dir: dir}).save(newSet([]fault.Fault{stored, over}), ""); err != nil {
		t.Fatal(err)
	}
	e := enginetest.New(enginetest.Kernel{})
	c := testControl(e, dir)
	if _, err := c.Change(Request{Edit: ReplaceOne(other)}); err != nil || !sameFaults(e.Faults, stored, other) {
		t.Errorf("%v, the kernel has %+v", err, e.Faults)
	}
}

// A file that stays unreadable does not make a fault last for ever.
func TestWhatIsUnreadableForLongIsAdopted(t *testing.T) {
	for name, c := range map[string]struct{ max, after time.Duration }{
		"no cap":      {0, unreadableFor},
		"a long cap":  {time.Hour, unreadableFor},
		"a short cap": {time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			hidden(t, dir, late(time.Millisecond))
			left := late(2 * time.Millisecond)
			e := enginetest.New(enginetest.Kernel{Faults: []fault.Fault{left}})
			c1 := testControl(e, dir)
			c1.maxDuration = c.max
			clock := fault.Moment{Wall: time.Now(), Boot: time.Hour}
			c1.now = func() fault.Moment { return clock }
			for _, wait := range []time.Duration{0, c.after - time.Second} {
				clock.Boot += wait
				if err := c1.Restore(); !errors.Is(err, ErrUnknown) || e.Applied != 0 {
					t.Fatalf("after %s: %v, applied %d times", wait, err, e.Applied)
				}
			}
			clock.Boot += time.Second
			if err := c1.Restore(); err != nil || !sameFaults(c1.Desired().Faults, e.Faults...) || len(e.Faults) != 1 {
				t.Fatalf("%v, desired %+v", err, c1.Desired().Faults)
			}
			if wants := c.max > 0; (c1.Desired().Faults[0].Deadline == clock.Boot+c.max) != wants {
				t.Errorf("it ends at %s, now is %s", c1.Desired().Faults[0].Deadline, clock.Boot)
			}
			if now, _ := c1.Read(); !strings.Contains(now.Warning, "could not be read") || now.Unknown != nil {
				t.Errorf("warning %q, unknown: %v", now.Warning, now.Unknown)
			}
		})
	}
}

// Without an engine an end is kept, and what makes or lengthens a fault is refused.
func TestAnEndWithoutAnEngineIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	a, b := late(time.Millisecond), late(2*time.Millisecond)
	b.Name, b.Match.Protocol = "b", fault.ProtocolUDP
	b.EndAfter(time.Minute, now())
	e := enginetest.New(enginetest.Kernel{})
	c := testControl(e, dir)
	if err := apply(c, a, b); err != nil {
		t.Fatal(err)
	}
	e.ApplyErr, e.StateErr = ErrNoEngine, ErrNoEngine
	third := late(3 * time.Millisecond)
	third.Name, third.Match.Protocol = "c", fault.ProtocolTCP
	for _, dry := range []bool{false, true} {
		if _, err := c.Change(Request{Edit: ReplaceOne(third), DryRun: dry}); !errors.Is(err, ErrNoEngine) || !sameFaults(c.Desired().Faults, a, b) {
			t.Errorf("a new one: %v, desired %+v", err, c.Desired().Faults)
		}
	}
	if _, err := c.Change(Request{Edit: RemoveOne(a.Name, true)}); !errors.Is(err, ErrNoEngine) || !strings.Contains(err.Error(), "not applied again") || !sameFaults(c.Desired().Faults, b) {
		t.Errorf("the end of one: %v, desired %+v", err, c.Desired().Faults)
	}
	c.now = func() fault.Moment { m := now(); m.Boot += time.Hour; return m }
	if _, err := tick(c); err != nil || len(c.Desired().Faults) != 0 {
		t.Errorf("the time of the other is over: %v, desired %+v", err, c.Desired().Faults)
	}
	if now, _ := c.Read(); !now.Unended {
		t.Error("it is not told that the kernel may have them")
	}
	if _, err := tick(c); err != nil {
		t.Error(err)
	}
	e.ApplyErr = nil
	if err := c.Restore(); err != nil || len(e.Faults) != 0 {
		t.Errorf("the next engine: %v, has %+v", err, e.Faults)
	}
	if now, _ := c.Read(); now.Unended {
		t.Error("the warning stays after they are removed")
	}
	next := enginetest.New(enginetest.Kernel{})
	if err := testControl(next, dir).Restore(); err != nil || len(next.Faults) != 0 {
		t.Errorf("the next agent: %v, has %+v", err, next.Faults)
	}
}

// A fault that can't be ended is told until it is.
func TestAnOverdueFaultIsTold(t *testing.T) {
	e := enginetest.New(enginetest.Kernel{})
	c := testControl(e, t.TempDir())
	f := late(time.Millisecond)
	f.EndAfter(time.Minute, now())
	if err := apply(c, f); err != nil {
		t.Fatal(err)
	}
	c.now = func() fault.Moment { m := now(); m.Boot += time.Hour; return m }
	e.ApplyErr = errors.New("no memory")
	for _, want := range []error{e.ApplyErr, nil} {
		e.ApplyErr = want
		if _, err := tick(c); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		if now, _ := c.Read(); !errors.Is(now.Overdue, want) || (now.Overdue == nil) != (want == nil) {
			t.Errorf("overdue: %v, want %v", now.Overdue, want)
		}
	}
}

// Faults that nobody knows, and that are ended while no engine runs, may still be in the
// kernel.
func TestUnknownFaultsThatEndWithoutAnEngineAreTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	hidden(t, dir, late(time.Millisecond))
	e := enginetest.New(enginetest.Kernel{ApplyErr: ErrNoEngine, StateErr: ErrNoEngine, AdoptErr: ErrNoEngine})
	c := testControl(e, dir)
	_, err := c.Change(Request{Edit: RemoveAll()})
	if now, _ := c.Read(); !errors.Is(err, ErrNoEngine) || !strings.Contains(err.Error(), "not applied again") || !now.Unended || now.Unknown != nil {
		t.Errorf("%v, told: %t, unknown: %v", err, now.Unended, now.Unknown)
	}
	e.Set(func(k *enginetest.Kernel) { k.ApplyErr = nil })
	if err := c.Restore(); err != nil {
		t.Fatal(err)
	}
	if now, _ := c.Read(); now.Unended {
		t.Error("it is told after an engine has removed them")
	}
}
