package netem

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Whenever in a change the device is replaced or goes away, the change is made
// on what is there in the end.
func TestTheDeviceIsReplacedInAChange(t *testing.T) {
	faults := several(3)
	for i := range faults {
		faults[i].Match.Direction = fault.Both
	}
	for _, comesBack := range []bool{true, false} {
		for n := 1; ; n++ {
			k := newFake(t)
			e := k.engine(nil)
			if err := e.Apply(faults[:1]); err != nil {
				t.Fatal(err)
			}
			before := len(k.ops)
			k.beforeChange = func(op) error {
				if len(k.ops)-before+1 != n || k.replaced > 0 || k.missing {
					return nil
				}
				k.plug()
				k.replaced, k.missing = 1, !comesBack
				return unix.ENODEV
			}
			if err := e.Apply(faults); err != nil {
				t.Fatalf("gone at change %d, comes back %t: %v", n, comesBack, err)
			}
			if k.replaced == 0 {
				break // the change has fewer steps
			}
			state, err := e.State(faults)
			if err != nil {
				t.Fatal(err)
			}
			if comesBack && (len(state.Found) != len(faults) || len(state.Drift) > 0) || !comesBack && (len(state.Missing) != 1 || len(state.Waiting) != len(faults)) {
				t.Errorf("gone at change %d, comes back %t: %+v", n, comesBack, state)
			}
			// What is desired comes to the device when it is there again.
			k.missing = false
			if err := e.Reapply(faults); err != nil {
				t.Fatal(err)
			}
			if state, err := e.State(faults); err != nil || len(state.Found) != len(faults) || len(state.Missing)+len(state.Waiting)+len(state.Drift) > 0 {
				t.Errorf("gone at change %d, comes back %t, and again: %+v, %v", n, comesBack, state, err)
			}
		}
	}
}

// A device that is replaced after the last step is not taken for the one that was
// changed.
func TestTheDeviceIsReplacedBeforeItIsReadBack(t *testing.T) {
	k := newFake(t)
	e := k.engine(nil)
	faults := several(1)
	steps := 0
	k.beforeChange = func(op) error { steps++; return nil }
	if err := e.Apply(faults); err != nil {
		t.Fatal(err)
	}
	k = newFake(t)
	e = k.engine(nil)
	done := 0
	k.beforeChange = func(op) error {
		if done++; done == steps {
			k.replaced++
			k.plug()
			return errGone
		}
		return nil
	}
	if err := e.Apply(faults); err != nil {
		t.Fatal(err)
	}
	if state, err := e.State(faults); err != nil || len(state.Found) != 1 {
		t.Errorf("%+v, %v", state, err)
	}
}

// errGone is what a change of a device that has just gone fails with.
var errGone = errors.Join(unix.ENODEV)

// A device that is replaced again and again is an error in the end.
func TestTheDeviceFlapsForEver(t *testing.T) {
	k := newFake(t)
	attempts := 0
	k.beforeChange = func(op) error {
		attempts++
		k.replaced++
		k.plug()
		return unix.ENODEV
	}
	if err := k.engine(nil).Apply(several(1)); !errors.Is(err, unix.ENODEV) || attempts < replacements {
		t.Errorf("%v after %d attempts", err, attempts)
	}
}

// What somebody else has put in the place of a tree is in the way of a new fault,
// not of one that was accepted before, and never of the other direction.
func TestReapplyYieldsToForeignState(t *testing.T) {
	k := newFake(t)
	k.trees[egress].occupiedBy = "root qdisc tbf 1:"
	e := k.engine(nil)
	faults := []fault.Fault{everything("in", fault.Ingress, ms), everything("out", fault.Egress, ms)}
	if err := e.Apply(faults); !errors.Is(err, fault.ErrForeign) || len(k.ops) > 0 {
		t.Fatalf("Apply: %v, %v", err, k.ops)
	}
	if err := e.Reapply(faults); err != nil {
		t.Fatal(err)
	}
	state, err := e.State(faults)
	if err != nil {
		t.Fatal(err)
	}
	if _, held := state.Found["in"]; !held || len(state.Found) != 1 || len(state.Drift) == 0 {
		t.Errorf("%+v, want the fault of ingress, and what is in the way of the other", state)
	}
	k.trees[egress].occupiedBy = ""
	if err := e.Reapply(faults); err != nil {
		t.Fatal(err)
	}
	if state, err = e.State(faults); err != nil || len(state.Found) != 2 || len(state.Drift) > 0 {
		t.Errorf("after it is gone: %+v, %v", state, err)
	}
}
