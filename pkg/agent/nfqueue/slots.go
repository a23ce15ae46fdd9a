//go:build linux

package nfqueue

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Queue numbers. Each fault has a queue of its own in each direction.
const (
	// sinkQueue drops every packet and tells the sender that it was sent: the
	// originals of copied packets, and what meets a partition.
	sinkQueue    = 2333
	egressQueue  = 2340
	ingressQueue = 2360
	// maxUnread is more messages than the receive buffer has room for.
	maxUnread = 1 << 16
)

// slot is the queue and the chain of one fault in one direction.
type slot struct {
	direction fault.Direction // Egress or Ingress
	number    int             // from 0 to fault.MaxFaults-1
}

// queue is the number of the slot's queue.
func (s slot) queue() uint16 {
	if s.direction == fault.Ingress {
		return uint16(ingressQueue + s.number)
	}
	return uint16(egressQueue + s.number)
}

// chain is the name of the slot's chain.
func (s slot) chain() string { return fmt.Sprintf("%s-%d", s.direction, s.number) }

// parseChain returns the slot whose chain has a name.
func parseChain(name string) (slot, bool) {
	for _, direction := range directions() {
		digits, ok := strings.CutPrefix(name, direction.String()+"-")
		if !ok {
			continue
		}
		number, err := strconv.Atoi(digits)
		return slot{direction, number}, err == nil && number >= 0 && number < fault.MaxFaults
	}
	return slot{}, false
}

// directions are the single directions. A fault in both has a slot in each.
func directions() []fault.Direction { return []fault.Direction{fault.Egress, fault.Ingress} }

// slots has the slot of each fault by direction and name.
type slots map[fault.Direction]map[string]slot

// layout is a set of faults, their slots, and what was in the way of copies when
// they were applied.
type layout struct {
	faults    []fault.Fault
	slots     slots
	obstacles obstacles
}

// assign returns slots for the desired faults, s being those in use now. A fault
// that is there already keeps its slot. A new one gets the lowest slot that is
// not in use, so that the packets of two faults never share a queue. Slots of
// faults that end are used only if no others are left.
func (s slots) assign(desired []fault.Fault) slots {
	assigned := make(slots)
	for _, direction := range directions() {
		assigned[direction] = assignDirection(direction, s[direction], desired)
	}
	return assigned
}

// assignDirection is assign for one direction; current are its slots in use now.
func assignDirection(direction fault.Direction, current map[string]slot, desired []fault.Fault) map[string]slot {
	assigned := make(map[string]slot)
	inUse, reserved := make(map[int]bool), make(map[int]bool) // by current, by assigned
	for _, slot := range current {
		inUse[slot.number] = true
	}
	for _, f := range desired {
		if slot, ok := current[f.Name]; ok && f.Match.Direction.Has(direction) {
			assigned[f.Name], reserved[slot.number] = slot, true
		}
	}
	for _, f := range desired {
		if _, done := assigned[f.Name]; done || !f.Match.Direction.Has(direction) {
			continue
		}
		number := lowestFree(reserved, inUse)
		assigned[f.Name], reserved[number] = slot{direction, number}, true
	}
	return assigned
}

// lowestFree returns the lowest number in neither set, or if there is none, the
// lowest that is not reserved.
func lowestFree(reserved, inUse map[int]bool) int {
	for number := range fault.MaxFaults {
		if !reserved[number] && !inUse[number] {
			return number
		}
	}
	number := 0
	for reserved[number] {
		number++
	}
	return number
}

// findSlots returns the slots of the faults that were found in the kernel.
func findSlots(found tables) slots {
	all := make(slots)
	for _, direction := range directions() {
		all[direction] = make(map[string]slot)
	}
	for _, chains := range found {
		for chain, rules := range chains {
			slot, ok := parseChain(chain)
			if !ok || len(rules) == 0 {
				continue
			}
			if name, _, ok := parseFault(rules[0].comment); ok {
				all[slot.direction][name] = slot
			}
		}
	}
	return all
}
