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
			if wait, err := tick(c1); err != nil || wait == 0 || wait > retryInterval {
				t.Errorf("tried again in %s, %v", wait, err)
			}
			mend()
			if _, err := tick(c1); err != nil {
				t.Error(err)
			}
			if snapshot, _ := c1.Read(); snapshot.Unsaved != nil {
				t.Errorf("unsaved after the disk is back: %+v", snapshot.Unsaved)
			}
			next := &enginetest.Engine{}
			if err := testControl(next, dir).Restore(); err != nil || !sameFaults(next.Faults, want...) {
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
	if _, err := tick(c); err != nil || len(e.Faults) != 0 {
		t.Errorf("%v, holds %q", err, fault.Names(e.Faults))
	}
}

// A file of the old set has room for a smaller one, where the disk has none for
// another file.
func TestASmallerSetFitsInPlace(t *testing.T) {
	s := store{dir: t.TempDir()}
	large, one := lasting("a", time.Hour), newSet([]fault.Fault{lasting("b", time.Hour)})
	for i := range 400 {
		large.Match.Peers = append(large.Match.Peers, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32))
	}
	two := newSet([]fault.Fault{large, one.Faults[0]})
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

// Of the writes that are asked for while the disk hangs only the last is made.
func TestADiskThatHangsGetsOneMoreWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s saver
		var written []string
		hangs := make(chan struct{})
		ask := func(name string) <-chan error {
			return s.ask(func() error { <-hangs; written = append(written, name); return nil })
		}
		first := ask("first")
		synctest.Wait() // it is under way
		began := time.Now()
		if err := await(first); !errors.Is(err, errSlowDisk) || time.Since(began) != saveTimeout {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		second, third := ask("second"), ask("third")
		if err := await(second); !errors.Is(err, errSuperseded) {
			t.Errorf("the second: %v", err)
		}
		close(hangs)
		if err := await(third); err != nil || !slices.Equal(written, []string{"first", "third"}) {
			t.Errorf("the third: %v; written: %q", err, written)
		}
		if err := await(s.ask(func() error { return os.ErrClosed })); !errors.Is(err, os.ErrClosed) {
			t.Errorf("a write that fails: %v", err)
		}
	})
}

// While the disk hangs, a request that ends a fault does so at once, and neither
// it nor what is tried again keeps others waiting.
func TestEndingDoesNotWaitForADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &enginetest.Engine{}
		c := testControl(e, t.TempDir())
		forever := late(time.Second)
		short := forever
		short.Name, short.Match.Protocol = "short", fault.ProtocolUDP
		short.EndAfter(time.Second, now())
		if err := apply(c, forever, short); err != nil {
			t.Fatal(err)
		}
		hangs := make(chan struct{})
		c.saver.ask(func() error { <-hangs; return nil })
		synctest.Wait() // it is under way
		done := make(chan error)
		began := time.Now()
		go func() { done <- apply(c, short) }()
		synctest.Wait()
		if has := e.Get().Faults; len(has) != 1 {
			t.Errorf("at once the kernel has %q", fault.Names(has))
		}
		if _, err := c.Read(); err != nil || time.Since(began) > 0 {
			t.Errorf("a read took %s: %v", time.Since(began), err)
		}
		if err := <-done; err != nil || time.Since(began) != saveTimeout {
			t.Errorf("the request took %s: %v", time.Since(began), err)
		}
		if snapshot, _ := c.Read(); snapshot.Unsaved == nil {
			t.Error("the status does not say that the disk hangs")
		}
		if err := apply(c, short, forever); !errors.Is(err, errSlowDisk) || len(e.Get().Faults) != 1 {
			t.Errorf("a fault is made: %v", err)
		}
		close(hangs)
		synctest.Wait()
		if _, err := tick(c); err != nil {
			t.Error(err)
		}
		if snapshot, _ := c.Read(); snapshot.Unsaved != nil {
			t.Errorf("when the disk is back: %+v", snapshot.Unsaved)
		}
	})
}

// tick does what Run does when its timer is over, and waits for the disk.
func tick(c *Control) (time.Duration, error) {
	wait, pending, err := c.expire()
	c.endSave(pending)
	return wait, err
}
