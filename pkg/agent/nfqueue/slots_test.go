//go:build linux

package nfqueue

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tidelay/tidelay/pkg/fault"
)

func named(direction fault.Direction, names ...string) []fault.Fault {
	var faults []fault.Fault
	for _, name := range names {
		faults = append(faults, fault.Fault{Name: name, Match: fault.Match{Direction: direction}, Impairment: fault.Impairment{Delay: 1}})
	}
	return faults
}

func TestAFaultKeepsItsSlot(t *testing.T) {
	first := make(slots).assign(named(fault.Egress, "b", "c"))
	second := first.assign(named(fault.Egress, "a", "c"))
	if second[fault.Egress]["c"] != first[fault.Egress]["c"] {
		t.Errorf("c was at %+v and is at %+v", first[fault.Egress]["c"], second[fault.Egress]["c"])
	}
	// Not that of b, whose packets may still wait.
	if at := second[fault.Egress]["a"]; at == first[fault.Egress]["b"] || at == second[fault.Egress]["c"] {
		t.Errorf("a is at %+v", at)
	}
	third := second.assign(named(fault.Egress, "a", "d"))
	if third[fault.Egress]["d"] != first[fault.Egress]["b"] {
		t.Errorf("d is at %+v, want what was left free", third[fault.Egress]["d"])
	}
}

func TestDirectionsHaveSlotsOfTheirOwn(t *testing.T) {
	places := make(slots).assign(append(named(fault.Both, "a"), named(fault.Ingress, "b")...))
	var got []uint16
	for _, byName := range places {
		for _, at := range byName {
			got = append(got, at.queue())
		}
	}
	slices.Sort(got)
	if want := []uint16{2340, 2360, 2361}; !slices.Equal(got, want) {
		t.Errorf("queues %v, want %v", got, want)
	}
}

// As many faults as there can be, all replaced by others: only then are the
// slots of those that go used at once.
func TestAllSlotsCanChangeHands(t *testing.T) {
	var old, next []string
	for i := range fault.MaxFaults {
		old, next = append(old, fmt.Sprintf("old%02d", i)), append(next, fmt.Sprintf("new%02d", i))
	}
	places := make(slots).assign(named(fault.Both, old...)).assign(named(fault.Both, next...))
	seen := make(map[slot]bool)
	for _, byName := range places {
		for name, at := range byName {
			if seen[at] || at.number >= fault.MaxFaults || name[:3] != "new" {
				t.Errorf("%s is at %+v", name, at)
			}
			seen[at] = true
		}
	}
	if len(seen) != 2*fault.MaxFaults {
		t.Errorf("%d slots in use", len(seen))
	}
}
