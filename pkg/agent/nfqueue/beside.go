//go:build linux

package nfqueue

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Reapply is Apply for faults that were accepted before. Where somebody else's
// rule or chain in our tables is in the way, faults end nevertheless: their rules
// are deleted and their queues given back, and all else stays as it is. The rules
// name interfaces, so they are as good for one that is missing or was replaced.
func (e *Engine) Reapply(desired []fault.Fault) error {
	err := e.Apply(desired)
	if errors.Is(err, fault.ErrForeign) {
		return e.endBeside(desired, err)
	}
	return err
}

// endBeside ends the faults that are applied and not desired. If others are
// desired than those that are applied, or none of them ends, the error is why.
func (e *Engine) endBeside(desired []fault.Fault, why error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.checkOpen(); err != nil {
		return err
	}
	if len(desired)+len(e.applied.faults) == 0 {
		return nil
	}
	left := layout{desired, e.applied.slots.only(desired), e.applied.obstacles}
	isNew := func(f fault.Fault) bool { return !slices.ContainsFunc(e.applied.faults, f.SameEffect) }
	if len(desired) >= len(e.applied.faults) || slices.ContainsFunc(desired, isNew) {
		return why
	}
	ended := make(map[string]bool) // chains
	for _, direction := range directions() {
		for name, slot := range e.applied.slots[direction] {
			ended[slot.chain()] = fault.Find(desired, name) == nil
		}
	}
	_, unused := e.compareQueues(left)
	if err := forEach(unused, e.scheduler.release); err != nil {
		return err
	}
	if err := e.rules.deleteRules(func(chain string) bool { return ended[chain] }); err != nil {
		return fmt.Errorf("delete rules: %w", err)
	}
	if err := forEach(unused, e.scheduler.unbind); err != nil {
		return err
	}
	e.applied = left
	e.log.Warn("faults ended beside somebody else's rules", "left", len(desired), "reason", why)
	return nil
}

// only returns the slots of some faults.
func (s slots) only(faults []fault.Fault) slots {
	kept := make(slots)
	for direction, all := range s {
		kept[direction] = maps.Clone(all)
		maps.DeleteFunc(kept[direction], func(name string, _ slot) bool { return fault.Find(faults, name) == nil })
	}
	return kept
}
