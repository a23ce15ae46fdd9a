package control

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/fault"
)

func TestFollow(t *testing.T) {
	e := enginetest.New(enginetest.Kernel{})
	c := testControl(e, t.TempDir())
	some := late(time.Millisecond)
	if _, err := c.Change(Request{Edit: ReplaceOne(some)}); err != nil {
		t.Fatal(err)
	}
	e.Set(func(k *enginetest.Kernel) { k.Faults = nil }) // the interface was replaced
	if err := c.Follow(fault.Scope{Devices: []string{"eth0", "net1"}}); err != nil {
		t.Fatal(err)
	}
	if k := e.Get(); !sameFaults(k.Faults, some) || !slices.Equal(k.Scope.Devices, []string{"eth0", "net1"}) {
		t.Errorf("the kernel has %+v in the scope %v", k.Faults, k.Scope)
	}
	e.Set(func(k *enginetest.Kernel) { k.ApplyErr = errors.New("no") })
	if err := c.Follow(fault.Scope{}); err == nil {
		t.Error("a failure is not reported")
	}
	if desired := c.Desired().Faults; !sameFaults(desired, some) {
		t.Errorf("a failure changed what is desired to %+v", desired)
	}
}

// To end a fault, nothing that is in the way of a new one is in the way.
func TestEndingIsNotRefused(t *testing.T) {
	foreign := errors.New("somebody else's")
	one, two := late(time.Millisecond), late(2*time.Millisecond)
	two.Name, two.Match.Protocol = "two", fault.ProtocolUDP
	for name, c := range map[string]struct {
		edit Edit
		want error
	}{
		"remove one":      {RemoveOne("two", true), nil},
		"remove all":      {ReplaceAll(nil), nil},
		"replace by part": {ReplaceAll([]fault.Fault{one}), nil},
		"the same":        {ReplaceOne(one), foreign},
		"change one":      {ReplaceOne(late(3 * time.Millisecond)), foreign},
		"add one":         {ReplaceAll([]fault.Fault{one, two, {Name: "z", Match: fault.Match{Direction: fault.Ingress}, Impairment: one.Impairment}}), foreign},
	} {
		e := enginetest.New(enginetest.Kernel{})
		control := testControl(e, t.TempDir())
		if _, err := control.Change(Request{Edit: ReplaceAll([]fault.Fault{one, two})}); err != nil {
			t.Fatal(err)
		}
		e.Set(func(k *enginetest.Kernel) { k.ForeignErr = foreign })
		if _, err := control.Change(Request{Edit: c.edit}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
