package control

import (
	"fmt"
	"slices"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Unsaved says what the state file does not have.
type Unsaved struct {
	// Err is why the file could not be written.
	Err error
	// Ended are the faults that ended and that an agent would bring back if it
	// started now, unless their time is over. They are sorted.
	Ended []string
}

// onlyEnds reports whether a change makes no fault and lengthens none. Such a
// change needs no disk: without it, the next agent knows too much and never too
// little.
func onlyEnds(before, after []fault.Fault) bool {
	return !slices.ContainsFunc(after, func(f fault.Fault) bool {
		old := fault.Find(before, f.Name)
		return old == nil || !old.SameEffect(f) || old.OutlastedBy(f)
	})
}

// save writes a set that the kernel is about to get. An error means that the
// change must not be made.
func (c *Control) save(set Set) error {
	c.saves++
	if err := await(c.saver.ask(func() error { return c.store.save(set, c.boot) })); err != nil {
		c.noteUnsaved(err) // the file may have it nevertheless, or get it later
		return fmt.Errorf("%w; a fault is made only if the next agent will know of it, and ending faults still works", err)
	}
	c.stored, c.unsaved = set, nil
	return nil
}

// pendingSave is a write of the desired set that was begun.
type pendingSave struct {
	set    Set
	number int // of Control.saves
	done   <-chan error
}

// beginSave begins to write the desired set after faults have ended. The caller
// ends it with endSave, without the lock: a disk that hangs must not keep others
// from ending faults.
func (c *Control) beginSave() pendingSave {
	c.saves++
	set := c.desired
	return pendingSave{set, c.saves, c.saver.ask(func() error {
		err := c.store.save(set, c.boot)
		if err != nil && c.store.saveInPlace(set, c.boot) == nil {
			return nil
		}
		return err
	})}
}

// endSave waits for a write and records its result. If it failed, Run tries again.
// It does nothing for the zero value, which is no write, or if another one was
// begun since.
func (c *Control) endSave(p pendingSave) {
	if p.done == nil {
		return
	}
	err := await(p.done)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case p.number != c.saves:
	case err != nil:
		c.noteUnsaved(err)
	default:
		if c.unsaved != nil {
			c.log.Info("the state file has the faults again")
		}
		c.stored, c.unsaved = p.set, nil
	}
}

// noteUnsaved logs the first of several failures.
func (c *Control) noteUnsaved(err error) {
	if c.unsaved == nil {
		c.log.Error("write the state file; trying again", "err", err)
		c.reschedule()
	}
	c.unsaved = err
}

// whatIsUnsaved returns nil if the file has the desired set.
func (c *Control) whatIsUnsaved() *Unsaved {
	if c.unsaved == nil {
		return nil
	}
	u := &Unsaved{Err: c.unsaved}
	for _, f := range c.stored.Faults {
		if now := fault.Find(c.desired.Faults, f.Name); now == nil || !now.SameEffect(f) {
			u.Ended = append(u.Ended, f.Name)
		}
	}
	return u
}
