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
	// It is not that of b, whose packets may still wait.
	if at := second[fault.Egress]["a"]; at == first[fault.Egress]["b"] || at == second[fault.Egress]["c"] {
		t.Errorf("a is at %+v", at)
	}
	third := second.assign(named(fault.Egress, "a", "d"))
	if third[fault.Egress]["d"] != first[fault.Egress]["b"] {
		t.Errorf("d is at %+v, want the one of b", third[fault.Egress]["d"])
	}
}

func TestDirectionsHaveSlotsOfTheirOwn(t *testing.T) {
	assigned := make(slots).assign(append(named(fault.Both, "a"), named(fault.Ingress, "b")...))
	var got []uint16
	for _, byName := range assigned {
		for _, at := range byName {
			got = append(got, at.queue())
		}
	}
	slices.Sort(got)
	if want := []uint16{2340, 2360, 2361}; !slices.Equal(got, want) {
		t.Errorf("queues %v, want %v", got, want)
	}
}

// If as many faults as there can be are replaced by others, the new ones get the
// slots of the old ones at once.
func TestAllFaultsCanBeReplaced(t *testing.T) {
	var old, next []string
	for i := range fault.MaxFaults {
		old, next = append(old, fmt.Sprintf("old%02d", i)), append(next, fmt.Sprintf("new%02d", i))
	}
	assigned := make(slots).assign(named(fault.Both, old...)).assign(named(fault.Both, next...))
	seen := make(map[slot]bool)
	for _, byName := range assigned {
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
