//go:build linux

package nfqueue

import (
	"fmt"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Queue numbers. Each fault has a queue of its own in each direction.
const (
	// sinkQueue swallows the originals of packets whose copies are held, and
	// what a partition drops.
	sinkQueue    = 2333
	egressQueue  = 2340
	ingressQueue = 2360
	// maxUnread is more messages than the receive buffer has room for.
	maxUnread = 1 << 16
)

// slot is a place for a fault in one direction: a queue and a chain.
type slot struct {
	direction fault.Direction // Egress or Ingress
	number    int             // from 0 up to fault.MaxFaults
}

func (s slot) queue() uint16 {
	if s.direction == fault.Ingress {
		return uint16(ingressQueue + s.number)
	}
	return uint16(egressQueue + s.number)
}

// chain is the name of the slot's chain.
func (s slot) chain() string { return fmt.Sprintf("%s-%d", s.direction, s.number) }

// directions are those that have slots.
func directions() []fault.Direction { return []fault.Direction{fault.Egress, fault.Ingress} }

// slots is where faults are, by direction and name.
type slots map[fault.Direction]map[string]slot

// assign gives every fault a slot in each of its directions. A fault keeps the
// one it has; others get the lowest free ones, but none that is in use by a
// fault that goes, so that packets of two faults never share a queue. There are
// as many slots as faults; only if that is not enough are those used too.
func (s slots) assign(faults []fault.Fault) slots {
	next := make(slots)
	for _, direction := range directions() {
		next[direction] = make(map[string]slot)
		kept, used := make(map[int]bool), make(map[int]bool)
		for _, held := range s[direction] {
			used[held.number] = true
		}
		for _, f := range faults {
			if held, there := s[direction][f.Name]; there && f.Match.Direction.Has(direction) {
				next[direction][f.Name], kept[held.number] = held, true
			}
		}
		for _, f := range faults {
			if _, done := next[direction][f.Name]; done || !f.Match.Direction.Has(direction) {
				continue
			}
			number := lowest(kept, used)
			next[direction][f.Name], kept[number] = slot{direction, number}, true
		}
	}
	return next
}

// lowest is the lowest number in neither set, or else not in the first.
func lowest(kept, used map[int]bool) int {
	for number := range fault.MaxFaults {
		if !kept[number] && !used[number] {
			return number
		}
	}
	number := 0
	for kept[number] {
		number++
	}
	return number
}
