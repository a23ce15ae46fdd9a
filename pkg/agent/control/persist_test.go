package control

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/fault"
)

// broken makes a state directory unusable until the returned function is called.
func broken(t *testing.T, dir string) (mend func()) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// A fault ends without the disk, by request or by itself, and none is made
// without it.
func TestEndingNeedsNoDisk(t *testing.T) {
	named := func(name, peer string) fault.Fault {
		f := late(time.Second)
		f.Name, f.Match.Peers = name, []netip.Prefix{netip.MustParsePrefix(peer + "/32")}
		return f
	}
	a, b, another, ends := named("a", "10.0.0.1"), named("b", "10.0.0.2"), named("c", "10.0.0.3"), named("ends", "10.0.0.4")
	ends.EndAfter(time.Minute, now())
	longer := ends
	longer.EndAfter(time.Hour, now())
	for name, c := range map[string]struct {
		change  []fault.Fault
		refused bool
	}{
		"all end":                   {change: nil},
		"one ends":                  {change: []fault.Fault{a, ends}},
		"nothing changes":           {change: []fault.Fault{a, b, ends}},
		"one is made":               {change: []fault.Fault{a, b, ends, another}, refused: true},
		"one ends and one is made":  {change: []fault.Fault{a, another}, refused: true},
		"one does something else":   {change: []fault.Fault{late(1), a}, refused: true},
		"one gets more time":        {change: []fault.Fault{a, b, longer}, refused: true},
		"one ends no more":          {change: []fault.Fault{a, b, func() fault.Fault { f := ends; f.ExpiresAt = time.Time{}; return f }()}, refused: true},
		"one gets an end":           {change: []fault.Fault{func() fault.Fault { f := a; f.EndAfter(time.Minute, now()); return f }(), b, ends}},
		"one ends, one gets an end": {change: []fault.Fault{func() fault.Fault { f := a; f.EndAfter(time.Minute, now()); return f }(), ends}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			e := &enginetest.Engine{}
			c1 := testControl(e, dir)
			if err := apply(c1, a, b, ends); err != nil {
				t.Fatal(err)
			}
			mend := broken(t, dir)
			err := apply(c1, c.change...)
			want := c.change
			if c.refused {
				want = []fault.Fault{a, b, ends}
			}
			if (err != nil) != c.refused || !sameFaults(e.Faults, want...) || !sameFaults(c1.Desired().Faults, want...) {
				t.Errorf("error %v; holds %q, desires %q, want %q", err, fault.Names(e.Faults), fault.Names(c1.Desired().Faults), fault.Names(want))
			}
			snapshot, _ := c1.Read()
			if snapshot.Unsaved == nil || snapshot.Unsaved.Err == nil {
				t.Fatalf("unsaved: %+v", snapshot.Unsaved)
			}
			for _, f := range []fault.Fault{a, b, ends} {
				if ended := fault.Find(want, f.Name) == nil; ended != slices.Contains(snapshot.Unsaved.Ended, f.Name) {
					t.Errorf("%s has ended: %t; the warning names %q", f.Name, ended, snapshot.Unsaved.Ended)
				}
			}
			if wait, err := c1.expire(); err != nil || wait == 0 || wait > clockInterval {
				t.Errorf("tried again in %s, %v", wait, err)
			}
			mend()
			if _, err := c1.expire(); err != nil {
				t.Error(err)
			}
			if snapshot, _ := c1.Read(); snapshot.Unsaved != nil {
				t.Errorf("unsaved after the disk is back: %+v", snapshot.Unsaved)
			}
			next := &enginetest.Engine{}
			if err := testControl(next, dir).Restore(0); err != nil || !sameFaults(next.Faults, want...) {
				t.Errorf("the next agent: %v, holds %q, want %q", err, fault.Names(next.Faults), fault.Names(want))
			}
		})
	}
}

func TestAFaultEndsOnTimeWithoutTheDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	e := &enginetest.Engine{}
	c := testControl(e, dir)
	f := late(time.Second)
	f.EndAfter(time.Minute, now())
	if err := apply(c, f); err != nil {
		t.Fatal(err)
	}
	broken(t, dir)
	c.now = func() fault.Moment { m := now(); m.Boot += time.Hour; return m }
	if _, err := c.expire(); err != nil || len(e.Faults) != 0 {
		t.Errorf("%v, holds %q", err, fault.Names(e.Faults))
	}
}

// A file of the old set has room for a smaller one, where the disk has none for
// another file.
func TestASmallerSetFitsInPlace(t *testing.T) {
	s := store{dir: t.TempDir()}
	two, one := newSet([]fault.Fault{lasting("a", time.Hour), lasting("b", time.Hour)}), newSet([]fault.Fault{lasting("b", time.Hour)})
	if err := s.saveInPlace(one, "boot"); err == nil {
		t.Error("there is no file, and no error")
	}
	if err := errors.Join(s.save(two, "boot"), s.saveInPlace(one, "boot")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.load("boot"); err != nil || !sameFaults(got, one.Faults...) {
		t.Errorf("%v, %q", err, fault.Names(got))
	}
	if err := s.saveInPlace(two, "boot"); err == nil {
		t.Error("a larger set does not fit, and there is no error")
	}
	if got, err := s.load("boot"); err != nil || !sameFaults(got, one.Faults...) {
		t.Errorf("after a refusal: %v, %q", err, fault.Names(got))
	}
}

// A disk that hangs holds up nobody for long, and gets only the last of what was
// to be written.
func TestADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSaver()
		var written []string
		hangs := make(chan struct{})
		began := time.Now()
		first := s.save(func() error { <-hangs; written = append(written, "first"); return nil })
		second := s.save(func() error { written = append(written, "second"); return nil })
		third := s.save(func() error { written = append(written, "third"); return nil })
		if took := time.Since(began); took != 3*saveTimeout || !errors.Is(errors.Join(first, second), errSlowDisk) || !errors.Is(third, errSlowDisk) {
			t.Errorf("took %s: %v, %v, %v", took, first, second, third)
		}
		close(hangs)
		synctest.Wait()
		if !slices.Equal(written, []string{"first", "third"}) {
			t.Errorf("written: %q", written)
		}
		if err := s.save(func() error { return os.ErrClosed }); !errors.Is(err, os.ErrClosed) {
			t.Errorf("a write that fails: %v", err)
		}
	})
}
