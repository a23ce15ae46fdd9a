//go:build linux

package nfqueue

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Apply makes the kernel hold exactly these faults and returns once it was
// read back. A fault that is the same as before keeps its queue, what waits in
// it and its counters. What waits for one that ends leaves at once, in order.
// After a failure the faults of before are in force again; rules that an
// earlier process left, which had no effect any more, may be gone.
func (e *Engine) Apply(faults []fault.Fault) error {
	if err := fault.Check(faults, Lacks()); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	held, err := readTables()
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		if _, err := e.scheduler.running(); err != nil {
			return err
		}
	}
	before, places := e.applied, e.places
	if len(places) == 0 {
		places = placesOf(held)
	}
	if err := e.change(held, faults, places.assign(faults)); err != nil {
		return errors.Join(err, e.rollBack(before, places))
	}
	return nil
}

// rollBack undoes a change that failed half way.
func (e *Engine) rollBack(before []fault.Fault, places slots) error {
	now, err := readTables()
	if err == nil {
		err = e.change(now, before, places)
	}
	if err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}

func (e *Engine) change(held tables, faults []fault.Fault, places slots) error {
	if len(faults) == 0 {
		return e.clear(held)
	}
	return e.become(held, faults, places)
}

// become shapes the queues that are needed, leads packets to them, and gives
// back those that no rule leads to any more.
func (e *Engine) become(held tables, faults []fault.Fault, places slots) error {
	fresh, idle := e.plan(faults, places)
	e.applied, e.places = faults, places
	for _, one := range fresh {
		if err := e.scheduler.shape(one.at.queue(), one.fault.Impairment, e.memory); err != nil {
			return fmt.Errorf("set fault %q: %w", one.fault.Name, err)
		}
	}
	if err := e.scheduler.swallow(); err != nil {
		return err
	}
	// Packets go before the rules do, so that none is overtaken by one that
	// meets no rule any more, and once more, in retire, those that met the last.
	if err := each(idle, e.scheduler.release); err != nil {
		return err
	}
	if asked := e.tables(faults, places); !held.holds(asked) {
		if err := asked.write(held); err != nil {
			return err
		}
		now, err := readTables()
		if err != nil {
			return err
		}
		if !now.holds(asked) {
			return errors.New("read back: the kernel holds other rules than it was given")
		}
		e.log.Debug("rules written", "faults", len(faults), "rules", asked.rules())
	}
	return each(idle, e.scheduler.retire)
}

// clear ends every fault of ours, also one that an earlier process left. What
// waits leaves at once, in order.
func (e *Engine) clear(held tables) error {
	queues := e.scheduler.queues()
	if err := each(queues, e.scheduler.release); err != nil {
		return err
	}
	if held.rules() > 0 {
		if err := held.idle().write(held); err != nil {
			return err
		}
	}
	if err := each(queues, e.scheduler.retire); err != nil {
		return err
	}
	e.applied, e.places = nil, make(slots)
	if len(held) == 0 {
		return nil
	}
	if err := held.remove(); err != nil {
		return err
	}
	now, err := readTables()
	if err != nil {
		return err
	}
	if len(now) > 0 {
		return errors.New("read back: the kernel still holds rules of ours")
	}
	return nil
}

// each does something to queues, until it fails.
func each(queues []uint16, do func(uint16) error) error {
	for _, queue := range queues {
		if err := do(queue); err != nil {
			return err
		}
	}
	return nil
}

// placed is a fault with its slot in one direction.
type placed struct {
	fault fault.Fault
	at    slot
}

// plan lists what has to be shaped, and the queues that have a reader and need
// none. A partition needs no queue of its own.
func (e *Engine) plan(faults []fault.Fault, places slots) (fresh []placed, idle []uint16) {
	needed := make(map[uint16]bool)
	for _, f := range faults {
		for _, direction := range directions() {
			at, used := places[direction][f.Name]
			if !used || f.Impairment.Partition {
				continue
			}
			needed[at.queue()] = true
			if !e.has(f, at) {
				fresh = append(fresh, placed{f, at})
			}
		}
	}
	idle = slices.DeleteFunc(e.scheduler.queues(), func(queue uint16) bool { return needed[queue] })
	return fresh, idle
}

// has reports whether a fault is in force at a slot, by what this process
// applied and by what happens to the packets of its queue.
func (e *Engine) has(f fault.Fault, at slot) bool {
	l, bound := e.scheduler.look(at.queue())
	return bound && reflect.DeepEqual(l.impairment, f.Impairment) &&
		e.places[at.direction][f.Name] == at && slices.ContainsFunc(e.applied, f.SameEffect)
}

// tables returns the rules that put faults in force.
func (e *Engine) tables(faults []fault.Fault, places slots) tables {
	all := make(tables)
	for _, f := range e.families {
		v6 := f == ipv6
		one := make(table)
		for _, direction := range directions() {
			one[baseChain(direction)] = e.policy.base(direction, v6, faults, places)
			for _, each := range faults {
				if at, used := places[direction][each.Name]; used {
					one[at.chain()] = e.policy.hold(at, v6, each)
				}
			}
		}
		all[f] = one
	}
	return all
}
