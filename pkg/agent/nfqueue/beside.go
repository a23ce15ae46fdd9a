//go:build linux

package nfqueue

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

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
// desired than those that are applied, or none ends, the error is why.
func (e *Engine) endBeside(desired []fault.Fault, why error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
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
	if err := e.deleteOwnRules(ended); err != nil {
		return err
	}
	if err := forEach(unused, e.scheduler.unbind); err != nil {
		return err
	}
	e.applied = left
	e.log.Warn("faults ended beside somebody else's rules", "left", len(desired), "reason", why)
	return nil
}

// deleteOwnRules deletes our rules of some chains, in one transaction.
func (e *Engine) deleteOwnRules(chains map[string]bool) error {
	conn, err := dialNFT()
	if err != nil {
		return err
	}
	defer func() { _ = conn.close() }()
	var messages []nftMessage
	for _, f := range e.families {
		rules, err := listRules(conn, f)
		if err != nil {
			return err
		}
		for _, m := range rules {
			chain := stringAttr(m.attrs, unix.NFTA_RULE_CHAIN)
			if _, ours := parseComment(findAttr(m.attrs, unix.NFTA_RULE_USERDATA)); ours && chains[chain] {
				messages = append(messages, deleteRule(f, chain, findAttr(m.attrs, unix.NFTA_RULE_HANDLE)))
			}
		}
	}
	if err := conn.commit(messages); err != nil {
		return fmt.Errorf("delete rules: %w", err)
	}
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
