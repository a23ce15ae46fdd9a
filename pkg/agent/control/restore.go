package control

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Restore makes the stored set the desired one and applies it, without the faults
// whose time is over. It is called at the start, and again whenever another engine
// runs: then it applies the desired set.
//
// Without a stored set, the faults that the kernel has are adopted. What the
// engine can't explain is removed, because nothing would ever end it.
//
// When the stored set can't be read, the error is ErrUnknown, nothing is changed, and
// the status says why. The next call tries again, unless all faults were ended
// meanwhile.
func (c *Control) Restore() error {
	pending, err := c.restore()
	c.endSave(pending)
	return err
}

// restore is Restore but for the end of a write.
func (c *Control) restore() (pendingSave, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.learn(); err != nil {
		return pendingSave{}, err
	}
	c.dropOver()
	live := c.desired.Faults
	if err := c.engine.Reapply(live); err != nil {
		return pendingSave{}, fmt.Errorf("restore %d faults: %w", len(live), err)
	}
	c.unended = false
	c.reschedule()
	if len(live) > 0 {
		c.log.Info("faults restored", "faults", strings.Join(fault.Names(live), ", "))
	}
	return c.beginSave(), nil // without the disk the faults are there too, and can be ended
}

// learn finds out which set is desired when the agent starts: the stored one, or
// without one what the kernel has. None of its faults lasts longer than maxDuration
// from now. It does nothing if that is known. The error wraps ErrUnknown if the stored
// set can't be read, and otherwise says why the kernel's faults can't be adopted.
func (c *Control) learn() error {
	if c.known {
		return nil
	}
	stored, err := c.loadOrAdopt()
	if err != nil {
		c.unknown = nil
		if errors.Is(err, ErrUnknown) {
			c.unknown = err
		}
		return err
	}
	limitLives(stored, c.maxDuration, c.now())
	c.setDesired(newSet(stored)) // the kernel may lack them yet; the status says so
	c.dropOver()
	return nil
}

// dropOver removes the faults whose time is over from the desired set.
func (c *Control) dropOver() {
	live := alive(c.desired.Faults, c.now())
	for _, f := range c.desired.Faults {
		if fault.Find(live, f.Name) == nil {
			c.log.Info("fault ended before it could be restored", "fault", f.Name, "expiresAt", f.ExpiresAt)
		}
	}
	c.desired = newSet(live)
}

// unreadableFor is how long a stored set may be unreadable, at most. After that what
// the kernel has is adopted, as if the file were damaged: a fault that nobody knows
// never ends.
const unreadableFor = 5 * time.Minute

// loadOrAdopt returns the stored set, or without one what the kernel has.
func (c *Control) loadOrAdopt() ([]fault.Fault, error) {
	var lost error // why the stored set is given up
	stored, err := c.load()
	switch {
	case err == nil:
		c.stored = newSet(stored)
		return stored, nil
	case errors.Is(err, errNoState):
	case errors.Is(err, errDamaged) || c.isUnreadableForLong():
		lost = err
	default:
		return nil, fmt.Errorf("%w: %w; it is tried again, and until then they can only be ended all at once", ErrUnknown, err)
	}
	adopted, err := c.adopt()
	if err != nil {
		return nil, fmt.Errorf("adopt what an earlier agent left: %w", err)
	}
	if lost != nil {
		c.warning = fmt.Sprintf("the state of an earlier agent could not be read when this one started, so the faults were what the kernel had: %v", lost)
		c.log.Error("read the state of an earlier agent; the kernel's faults are adopted", "err", lost)
	}
	return adopted, nil
}

// isUnreadableForLong reports whether a stored set was unreadable for as long as it
// may be, from the first call on: unreadableFor, or maxDuration if that is less.
func (c *Control) isUnreadableForLong() bool {
	now := c.now().Boot
	if !c.unreadable {
		c.unreadable, c.unreadableSince = true, now
	}
	patience := unreadableFor
	if c.maxDuration > 0 {
		patience = min(patience, c.maxDuration)
	}
	return now-c.unreadableSince >= patience
}

// load reads the stored set, and gives up on a disk that hangs: the agent must
// start and answer. The next call then asks whether that read has come to an end.
func (c *Control) load() ([]fault.Fault, error) {
	patience := time.Duration(0)
	if c.loading == nil {
		loading := make(chan loaded, 1)
		go func() {
			faults, err := c.store.load(c.boot)
			loading <- loaded{faults, err}
		}()
		c.loading, patience = loading, saveTimeout
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case l := <-c.loading:
		c.loading = nil
		return l.faults, l.err
	case <-timeout.C:
	}
	select { // with patience 0 both were ready
	case l := <-c.loading:
		c.loading = nil
		return l.faults, l.err
	default:
		return nil, errSlowDisk
	}
}

// loaded is what was read from the state file.
type loaded struct {
	faults []fault.Fault
	err    error
}

// limitLives gives every stored fault a deadline in this boot, and none more time
// than maxDuration from now, 0 for no cap. The time of day may have been set while
// no agent ran.
func limitLives(stored []fault.Fault, maxDuration time.Duration, now fault.Moment) {
	for i := range stored {
		f := &stored[i]
		left, ends := f.Left(now)
		switch {
		case maxDuration > 0 && (!ends || left > maxDuration):
			f.EndAfter(maxDuration, now)
		case ends && f.Deadline == 0:
			f.Deadline = now.Boot + left
		}
	}
}

func (c *Control) adopt() ([]fault.Fault, error) {
	left, err := c.engine.Adopt()
	if errors.Is(err, fault.ErrLeftover) {
		c.log.Warn("removing faults", "reason", err.Error())
		return nil, nil
	}
	return left, err
}
