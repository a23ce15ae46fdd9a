//go:build linux

package nfqueue

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Apply makes the desired faults the only ones in the kernel, and returns after
// the kernel was read back. A fault that is the same as before keeps its queue,
// its waiting packets and its counters. The waiting packets of a fault that ends
// leave at once, in order.
//
// After an error the faults of before are in force again. Rules of an earlier
// process, which had no effect any more, may be gone then.
func (e *Engine) Apply(desired []fault.Fault) error {
	if err := fault.Check(desired, Lacks()); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.checkOpen(); err != nil {
		return err
	}
	found, err := e.rules.current()
	if err != nil {
		return err
	}
	var inTheWay obstacles
	if len(desired) > 0 {
		inTheWay = e.obstacles()
	}
	previous, current := e.applied, e.applied.slots
	if len(previous.faults) == 0 {
		current = findSlots(found) // of an earlier process
	}
	if err := e.change(found, layout{desired, current.assign(desired), inTheWay}); err != nil {
		return errors.Join(err, e.rollBack(previous))
	}
	return nil
}

// rollBack undoes a change that failed half way.
func (e *Engine) rollBack(previous layout) error {
	found, err := e.rules.read()
	if err == nil {
		err = e.change(found, previous)
	}
	if err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}

// change brings the kernel from what was found there to the target.
func (e *Engine) change(found tables, target layout) error {
	if len(target.faults) == 0 {
		return e.clear(found)
	}
	return e.install(found, target)
}

// install is change for a target with faults:
//
//  1. Every queue of the target gets its impairment. New ones are bound now, since
//     rules would let packets pass a queue without a reader.
//  2. The sink queue is bound, after the queues of copies; see bindSink.
//  3. The packets of queues that the target does not use leave. They leave before
//     the rules change, so that no packet that meets the new rules overtakes them.
//  4. The rules change, in one transaction, and are read back.
//  5. The unused queues are given back. The packets that met the last of the old
//     rules leave first.
func (e *Engine) install(found tables, target layout) error {
	changed, unused := e.compareQueues(target)
	e.applied = target
	if err := e.configureQueues(changed); err != nil {
		return err
	}
	if err := e.flags.bind(); err != nil {
		return err
	}
	if err := e.scheduler.bindSink(); err != nil {
		return err
	}
	if err := forEach(unused, e.scheduler.release); err != nil {
		return err
	}
	if err := e.writeRules(found, target); err != nil {
		return err
	}
	return forEach(unused, e.scheduler.unbind)
}

// clear ends every fault, also those of an earlier process. Waiting packets
// leave in order: first those that wait now, then, when no rule leads to the
// queues any more, those that arrived meanwhile. The tables go last, because
// removing them makes the kernel drop what is in any queue.
func (e *Engine) clear(found tables) error {
	queues := e.scheduler.boundQueues()
	if err := forEach(queues, e.scheduler.release); err != nil {
		return err
	}
	if found.ruleCount() > 0 {
		if err := e.rules.commit(found.withoutRules().changes(found)); err != nil {
			return fmt.Errorf("empty nftables tables: %w", err)
		}
	}
	if err := e.flags.empty(); err != nil {
		return err
	}
	if err := forEach(queues, e.scheduler.unbind); err != nil {
		return err
	}
	e.applied = layout{}
	if len(found) == 0 {
		return nil
	}
	if err := e.rules.commit(found.removal()); err != nil {
		return fmt.Errorf("delete nftables tables: %w", err)
	}
	left, err := e.rules.read()
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return errors.New("read back: the kernel still holds rules of ours")
	}
	return nil
}

// writeRules puts the rules of the target into the kernel, if they are not what
// was found, and reads them back.
func (e *Engine) writeRules(found tables, target layout) error {
	want, err := e.tables(target)
	if err != nil {
		return err
	}
	if found.equal(want) {
		return nil
	}
	now, err := e.rules.write(found, want)
	if err != nil {
		return fmt.Errorf("write nftables rules: %w", err)
	}
	if !now.equal(want) {
		return errors.New("read back: the kernel holds other rules than it was given")
	}
	e.log.Debug("rules written", "faults", len(target.faults), "rules", want.ruleCount())
	return nil
}

// tables returns the rules that put the faults of a layout in force.
func (e *Engine) tables(target layout) (tables, error) {
	all := make(tables)
	for _, family := range e.families {
		all[family] = make(table)
		for _, direction := range directions() {
			if err := e.addChains(all[family], family, direction, target); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// addChains adds the base chain of a direction and those of its faults.
func (e *Engine) addChains(to table, f family, direction fault.Direction, target layout) error {
	rules, err := e.chains.base(baseOf{f, direction}, e.policy, target)
	if err != nil {
		return err
	}
	to[baseChain(direction)] = rules
	for _, one := range target.faults {
		slot, ok := target.slots[direction][one.Name]
		if !ok {
			continue
		}
		of := faultChain{f, slot, one.Impairment.Partition, len(target.obstacles[f]) == 0}
		if to[slot.chain()], err = e.chains.fault(of, e.policy, one); err != nil {
			return err
		}
	}
	return nil
}

// queueTarget is the fault that a queue should be configured for.
type queueTarget struct {
	number uint16
	fault  fault.Fault
}

// compareQueues returns the queues of the target that must be configured, and
// the bound queues that the target does not use. A partition has no queue of its
// own.
func (e *Engine) compareQueues(target layout) (changed []queueTarget, unused []uint16) {
	used := make(map[uint16]bool)
	for _, f := range target.faults {
		if f.Impairment.Partition {
			continue
		}
		for _, direction := range directions() {
			slot, ok := target.slots[direction][f.Name]
			if !ok {
				continue
			}
			used[slot.queue()] = true
			if !e.isApplied(f, slot) {
				changed = append(changed, queueTarget{slot.queue(), f})
			}
		}
	}
	unused = slices.DeleteFunc(e.scheduler.boundQueues(), func(number uint16) bool { return used[number] })
	return changed, unused
}

// isApplied reports whether a fault is in force in a slot: this process applied
// it there, and its queue still has its impairment.
func (e *Engine) isApplied(f fault.Fault, at slot) bool {
	status, bound := e.scheduler.status(at.queue())
	return bound && reflect.DeepEqual(status.impairment, f.Impairment) &&
		e.applied.slots[at.direction][f.Name] == at && slices.ContainsFunc(e.applied.faults, f.SameEffect)
}

func (e *Engine) configureQueues(targets []queueTarget) error {
	for _, target := range targets {
		if err := e.scheduler.configure(target.number, target.fault.Impairment, e.memory); err != nil {
			return fmt.Errorf("set fault %q: %w", target.fault.Name, err)
		}
	}
	return nil
}

// forEach calls do for queues until it fails.
func forEach(queues []uint16, do func(number uint16) error) error {
	for _, number := range queues {
		if err := do(number); err != nil {
			return err
		}
	}
	return nil
}
