package control

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/explain"
	"github.com/tidelay/tidelay/pkg/fault"
)

var (
	// ErrStale reports that the set is not the one that the request was made
	// for.
	ErrStale = errors.New("precondition failed")
	// ErrNoFault reports that there is no fault of that name.
	ErrNoFault = errors.New("no such fault")
	// ErrUnknown reports that nobody knows what is desired, since what an earlier
	// agent stored can't be read. All faults can be ended then, and nothing else can
	// be changed.
	ErrUnknown = errors.New("the faults of an earlier agent are not known")
)

// Edit is a change of the desired set. The zero value is none.
type Edit struct {
	// after returns the set that is to follow the current one. It changes neither.
	after func(current []fault.Fault) ([]fault.Fault, error)
	// endsAll is set if the next set is empty, whatever the current one is.
	endsAll bool
}

// ReplaceAll makes a set, as fault.NewSet returns it, the desired one.
func ReplaceAll(faults []fault.Fault) Edit {
	return Edit{func([]fault.Fault) ([]fault.Fault, error) { return faults, nil }, len(faults) == 0}
}

// ReplaceOwned replaces the faults of one owner and leaves all others. It is
// fault.ErrOtherOwner if one of those has the name of a new fault.
func ReplaceOwned(owner string, faults []fault.Fault) Edit {
	return Edit{after: func(current []fault.Fault) ([]fault.Fault, error) {
		others := slices.DeleteFunc(slices.Clone(current), func(f fault.Fault) bool { return f.Owner == owner })
		for _, f := range faults {
			if err := checkOwner(others, f); err != nil {
				return nil, err
			}
		}
		return fault.NewSet(append(others, faults...))
	}}
}

// ReplaceOne adds a fault, or replaces that of its name. It is
// fault.ErrOtherOwner if that has another owner.
func ReplaceOne(f fault.Fault) Edit {
	return Edit{after: func(current []fault.Fault) ([]fault.Fault, error) {
		if err := checkOwner(current, f); err != nil {
			return nil, err
		}
		return fault.NewSet(append(without(current, f.Name), f))
	}}
}

// checkOwner refuses a fault if that of its name has another owner.
func checkOwner(current []fault.Fault, f fault.Fault) error {
	old := fault.Find(current, f.Name)
	switch {
	case old == nil || old.Owner == f.Owner:
		return nil
	case old.Owner == "":
		return fmt.Errorf("fault %q %w: it was set without one; take another name, or delete it first", f.Name, fault.ErrOtherOwner)
	default:
		return fmt.Errorf("fault %q %w, %q: take another name, or delete it first", f.Name, fault.ErrOtherOwner, old.Owner)
	}
}

// RemoveAll removes every fault, whoever set it.
func RemoveAll() Edit { return ReplaceAll(nil) }

// RemoveOne removes the fault of a name. If it must exist, its absence is
// ErrNoFault.
func RemoveOne(name string, mustExist bool) Edit {
	return Edit{after: func(current []fault.Fault) ([]fault.Fault, error) {
		rest := without(current, name)
		if mustExist && len(rest) == len(current) {
			return nil, fmt.Errorf("%w: %q", ErrNoFault, name)
		}
		return rest, nil
	}}
}

func without(faults []fault.Fault, name string) []fault.Fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f fault.Fault) bool { return f.Name == name })
}

// Request is a change and the terms on which it is made.
type Request struct {
	Edit Edit
	// IfMatch has revisions, one of which must be that of the current set; empty
	// for any.
	IfMatch []string
	// DryRun only finds out whether the change can be made.
	DryRun bool
}

// Outcome is what a change did, or what it would do after a dry run.
type Outcome struct {
	Before, After Set
	// Differences has every fault of both sets, by name.
	Differences []Difference
	// Limits says what the set after can't do in this pod.
	Limits []string
}

// Change makes a change of the desired set, or with DryRun finds out whether it
// can be made. It wraps ErrUnknown, ErrStale, ErrNoFault, ErrNoEngine, a
// fault.Invalid or fault.Conflict of the edit, or what the engine returned. An error
// means that nothing changed, with one exception: without an engine, what ends is
// forgotten nevertheless, and no engine that runs later applies it again.
func (c *Control) Change(r Request) (Outcome, error) {
	outcome, pending, err := c.change(r)
	c.endSave(pending)
	return outcome, err
}

// change is Change but for the end of a write.
func (c *Control) change(r Request) (Outcome, pendingSave, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.learn(); err != nil && (!r.Edit.endsAll || len(r.IfMatch) > 0) {
		return Outcome{}, pendingSave{}, err
	}
	before := c.desired
	if len(r.IfMatch) > 0 && !slices.Contains(r.IfMatch, before.Revision) {
		return Outcome{}, pendingSave{}, fmt.Errorf("%w: If-Match is %.80s and the faults are at %s; read them again", ErrStale, strings.Join(r.IfMatch, ", "), before.Revision)
	}
	faults, err := r.Edit.after(before.Faults)
	if err != nil {
		return Outcome{}, pendingSave{}, err
	}
	if err := fault.Check(faults, c.engine.Lacks()); err != nil {
		return Outcome{}, pendingSave{}, err
	}
	after := newSet(keepDeadlines(before.Faults, faults))
	outcome := Outcome{Before: before, After: after, Differences: diff(before.Faults, after.Faults)}
	lost, _ := c.notHeld(outcome.Differences) // where the kernel cannot be read, the change says so
	if r.DryRun {
		outcome.markRestored(lost)
		if _, err := c.engine.State(nil); errors.Is(err, ErrNoEngine) {
			return Outcome{}, pendingSave{}, err
		}
		outcome.Limits = c.engine.Warnings(faults)
		return outcome, pendingSave{}, nil
	}
	changed, pending, err := c.commit(before, after)
	if changed {
		outcome.markRestored(c.restored(outcome.Differences, lost))
		c.logChanges(outcome.Differences)
	}
	if err != nil {
		return Outcome{}, pending, err
	}
	outcome.Limits = c.engine.Warnings(faults)
	return outcome, pending, nil
}

func (c *Control) logChanges(differences []Difference) {
	for _, d := range differences {
		if d.Action != api.ActionKeep {
			c.log.Info("fault changed", "action", d.Action, "fault", d.Name, "to", explain.Summary(d.Fault))
		}
	}
}

// keepDeadlines returns the set after a change. A fault whose end was read from
// the agent and sent back keeps its deadline, although the clock may have been set
// since.
func keepDeadlines(before, after []fault.Fault) []fault.Fault {
	kept := slices.Clone(after)
	for i, f := range kept {
		if old := fault.Find(before, f.Name); old != nil && old.ExpiresAt.Equal(f.ExpiresAt) {
			kept[i].Deadline = old.Deadline
		}
	}
	return kept
}

// commit makes a set the desired one, and reports whether it is. A set with new
// faults is stored and then applied, so that a crash between the two ends in what was
// asked for; when the engine fails, the set before is stored again. A set in which
// faults only end is applied first, and needs no disk; without an engine it is the
// desired one too, and the error says so. The caller ends the write that is pending.
func (c *Control) commit(before, after Set) (changed bool, pending pendingSave, err error) {
	if !onlyEnds(before.Faults, after.Faults) {
		if err := c.save(after); err != nil {
			return false, pendingSave{}, err
		}
		if err := c.engine.Apply(after.Faults); err != nil {
			return false, c.beginSave(), err
		}
		c.unended = false
		c.setDesired(after)
		return true, pendingSave{}, nil
	}
	apply := c.engine.Apply
	if len(after.Faults) < len(before.Faults) || len(after.Faults) == 0 { // nothing of others is in the way of an end
		apply = c.engine.Reapply
	}
	switch err = apply(after.Faults); {
	case errors.Is(err, ErrNoEngine) && (len(after.Faults) < len(before.Faults) || !c.known):
		c.unended = true
		err = fmt.Errorf("%w; what ends is not applied again, and what the kernel still has of it is removed when an engine runs", err)
	case errors.Is(err, ErrNoEngine):
		err = fmt.Errorf("%w; the new times of faults are kept", err)
	case err != nil:
		return false, pendingSave{}, err
	default:
		c.unended = false
	}
	c.setDesired(after)
	return true, c.beginSave(), err
}

// setDesired makes a set the desired one, whatever an earlier agent stored.
func (c *Control) setDesired(set Set) {
	c.desired, c.known, c.unknown = set, true, nil
	c.reschedule()
}

// reschedule has Run look again when the next fault ends.
func (c *Control) reschedule() {
	select {
	case c.rescheduled <- struct{}{}:
	default: // Run has not yet received the signal before
	}
}
