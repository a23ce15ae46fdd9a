//go:build linux

package nfqueue

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
	"github.com/tidelay/tidelay/pkg/fault"
)

// State reads from the kernel which of these faults it holds. The counters have
// counted since each fault was applied:
//
//   - Packets and Bytes met the fault.
//   - Dropped packets were lost by the impairment, because the queue of a rate
//     was full, or by the kernel's queue.
//   - Overlimits are packets that left before they were due, because too many
//     waited or arrived at once.
//   - Backlog packets wait now.
//
// If somebody else's state is in a table of our name, no fault is found, and Drift
// says why.
func (e *Engine) State(faults []fault.Fault) (fault.State, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.checkOpen(); err != nil {
		return fault.State{}, err
	}
	state := fault.State{Found: make(map[string][]fault.Instance)}
	found, err := e.rules.read()
	if errors.Is(err, fault.ErrForeign) {
		state.Drift = append(state.Drift, err.Error())
		return state, nil
	}
	if err != nil {
		return fault.State{}, err
	}
	stats, err := readQueueStats()
	if err != nil {
		return fault.State{}, err
	}
	if state.Missing, err = rtnl.Missing(e.policy.devices); err != nil {
		return fault.State{}, err
	}
	want := make(tables)
	if len(e.applied.faults) > 0 {
		if want, err = e.tables(e.applied); err != nil {
			return fault.State{}, err
		}
	}
	if !found.equal(want) {
		state.Drift = append(state.Drift, "the rules of nftables table "+tableName+" are not the ones that were written")
		return state, nil
	}
	for _, f := range faults {
		if f.Match.WaitsFor(e.policy.devices, state.Missing) {
			state.Waiting = append(state.Waiting, f.Name)
			continue
		}
		instances, ok := e.instances(f, found, stats)
		if !ok {
			state.Drift = append(state.Drift, fmt.Sprintf("fault %q is not what its rules and queues were made for", f.Name))
			continue
		}
		state.Found[f.Name] = instances
	}
	return state, nil
}

// instances returns what was found of a fault in each of its directions, and
// whether that is all of it.
func (e *Engine) instances(f fault.Fault, found tables, stats map[uint16]queueStats) ([]fault.Instance, bool) {
	device := strings.Join(e.policy.devices, ",")
	if f.Match.Device != "" {
		device = f.Match.Device
	}
	var all []fault.Instance
	for _, direction := range directions() {
		if !f.Match.Direction.Has(direction) {
			continue
		}
		slot, ok := e.applied.slots[direction][f.Name]
		if !ok || !f.Impairment.Partition && !e.isApplied(f, slot) {
			return nil, false
		}
		counters := e.counters(slot, f.Impairment.Partition, found, stats)
		all = append(all, fault.Instance{Direction: direction, Device: device, Counters: counters})
	}
	return all, true
}

// counters returns what the rules and the queue of a slot have counted.
func (e *Engine) counters(at slot, partition bool, found tables, stats map[uint16]queueStats) api.Counters {
	var c api.Counters
	c.Packets, c.Bytes = found.counters(at.chain())
	if partition {
		c.Dropped = c.Packets
		return c
	}
	if status, bound := e.scheduler.status(at.queue()); bound {
		kernel := stats[at.queue()]
		c.Dropped = status.dropped + kernel.dropped
		c.Overlimits = status.early
		c.Backlog = kernel.waiting
	}
	return c
}

// Adopt returns the faults that an earlier process left in the kernel: none, or
// a plain delay of all egress, whose comment says everything about it. The
// error wraps fault.ErrLeftover if other rules of ours are there. What was exempt
// then does not matter, since Apply writes the exemptions of this process.
func (e *Engine) Adopt() ([]fault.Fault, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.checkOpen(); err != nil {
		return nil, err
	}
	found, err := e.rules.read()
	if err != nil || found.ruleCount() == 0 {
		return nil, err
	}
	plain, ok := onlyDelay(found)
	if !ok {
		return nil, fmt.Errorf("rules of nftables table %s: %w", tableName, fault.ErrLeftover)
	}
	return []fault.Fault{plain}, nil
}

// onlyDelay returns the plain delay that was found, and false if there is
// none or anything else.
func onlyDelay(found tables) (plain fault.Fault, ok bool) {
	for _, chains := range found {
		for chain, rules := range chains {
			if isBase(chain) {
				continue
			}
			if len(rules) == 0 {
				return fault.Fault{}, false
			}
			_, one, isFault := parseFault(rules[0].comment)
			if !isFault || one == nil || ok && !one.SameEffect(plain) {
				return fault.Fault{}, false
			}
			plain, ok = *one, true
		}
	}
	return plain, ok
}
