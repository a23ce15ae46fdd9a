//go:build linux

package nfqueue

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidelay/tidelay/pkg/fault"
)

// State reads from the kernel which of these faults it holds, with what was
// counted since each was put there. Packets and Bytes met the fault. Dropped
// were lost on purpose, because a rate's queue was full, or by the kernel's
// queue. Overlimits left before they were due, because too many waited or came
// at once. Backlog wait now.
func (e *Engine) State(faults []fault.Fault) (fault.State, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	state := fault.State{Found: make(map[string][]fault.Instance)}
	held, err := readTables()
	if err != nil {
		return fault.State{}, err
	}
	stats, err := readQueueStats()
	if err != nil {
		return fault.State{}, err
	}
	asked := e.tables(e.applied, e.places)
	if len(e.applied) == 0 {
		asked = make(tables)
	}
	if !held.holds(asked) {
		state.Drift = append(state.Drift, "the rules of nftables table "+tableName+" are not the ones that were written")
		return state, nil
	}
	for _, f := range faults {
		holdings, ok := e.holdings(f, held, stats)
		if !ok {
			state.Drift = append(state.Drift, fmt.Sprintf("fault %q is not what its rules and queues were made for", f.Name))
			continue
		}
		state.Found[f.Name] = holdings
	}
	return state, nil
}

// holdings returns what there is of a fault in each of its directions, and
// whether that is all of it.
func (e *Engine) holdings(f fault.Fault, held tables, stats map[uint16]queueStats) ([]fault.Instance, bool) {
	var all []fault.Instance
	for _, direction := range directions() {
		if !f.Match.Direction.Has(direction) {
			continue
		}
		at, there := e.places[direction][f.Name]
		if !there || !f.Impairment.Partition && !e.has(f, at) {
			return nil, false
		}
		one := fault.Instance{Direction: direction, Device: strings.Join(e.policy.devices, ",")}
		if f.Match.Device != "" {
			one.Device = f.Match.Device
		}
		c := &one.Counters
		c.Packets, c.Bytes = held.counters(at.chain())
		if f.Impairment.Partition {
			c.Dropped = c.Packets
		} else if l, bound := e.scheduler.look(at.queue()); bound {
			c.Dropped, c.Overlimits = l.dropped+stats[at.queue()].dropped, l.early
			c.Backlog = stats[at.queue()].waiting
		}
		all = append(all, one)
	}
	return all, true
}

// Adopt returns what an earlier process left in the kernel: nothing, or a
// latency of all egress, whose comment says it all. Anything else of ours is
// fault.ErrLeftover. What was exempt then does not matter; Apply says it anew.
func (e *Engine) Adopt() ([]fault.Fault, error) {
	held, err := readTables()
	if err != nil || held.rules() == 0 {
		return nil, err
	}
	latency, alone := leftLatency(held)
	if !alone {
		return nil, fmt.Errorf("rules of nftables table %s: %w", tableName, fault.ErrLeftover)
	}
	return []fault.Fault{latency}, nil
}

// leftLatency returns the plain latency that the chains of all faults stand
// for, and whether there is one and nothing else.
func leftLatency(held tables) (latency fault.Fault, alone bool) {
	for _, one := range held {
		for chain, rules := range one {
			if isBase(chain) {
				continue
			}
			if len(rules) == 0 {
				return fault.Fault{}, false
			}
			_, found, ok := parseFault(rules[len(rules)-1].comment)
			if !ok || found == nil || alone && !found.SameEffect(latency) {
				return fault.Fault{}, false
			}
			latency, alone = *found, true
		}
	}
	return latency, alone
}

// placesOf finds the slots of faults that an earlier process left.
func placesOf(held tables) slots {
	places := make(slots)
	for _, direction := range directions() {
		places[direction] = make(map[string]slot)
		for _, one := range held {
			for chain, rules := range one {
				digits, ours := strings.CutPrefix(chain, direction.String()+"-")
				number, err := strconv.Atoi(digits)
				if !ours || err != nil || number < 0 || number >= fault.MaxFaults || len(rules) == 0 {
					continue
				}
				if name, _, ok := parseFault(rules[len(rules)-1].comment); ok {
					places[direction][name] = slot{direction, number}
				}
			}
		}
	}
	return places
}
