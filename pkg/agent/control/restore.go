package control

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Restore makes the stored set the desired one and applies it, without the
// faults whose time is over. None lasts longer than maxDuration from now, 0 for no
// cap. It is called once, before anything else.
//
// Without a stored set, the faults that the kernel has are adopted. What the
// engine can't explain is removed, because nothing would ever end it.
//
// When the stored set can't be read, nothing is changed, and the status says why.
func (c *Control) Restore(maxDuration time.Duration) error {
	pending, err := c.restore(maxDuration)
	c.endSave(pending)
	return err
}

// restore is Restore but for the end of a write.
func (c *Control) restore(maxDuration time.Duration) (pendingSave, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stored, err := c.load()
	if err != nil && !errors.Is(err, errNoState) {
		c.warning = err.Error()
		if !errors.Is(err, errDamaged) {
			return pendingSave{}, err
		}
		c.log.Error("read the state of an earlier agent", "err", err)
	}
	if err != nil {
		if stored, err = c.adopt(); err != nil {
			return pendingSave{}, fmt.Errorf("adopt what an earlier agent left: %w", err)
		}
	}
	limitLives(stored, maxDuration, c.now())
	live := alive(stored, c.now())
	for _, f := range stored {
		if fault.Find(live, f.Name) == nil {
			c.log.Info("fault ended while no agent ran", "fault", f.Name, "expiresAt", f.ExpiresAt)
		}
	}
	c.desired = newSet(live) // also when Apply fails: the status then says that the kernel lacks them
	if err := c.engine.Reapply(live); err != nil {
		return pendingSave{}, fmt.Errorf("restore %d faults: %w", len(live), err)
	}
	if len(live) > 0 {
		c.log.Info("faults restored", "faults", strings.Join(fault.Names(live), ", "))
	}
	return c.beginSave(), nil // without the disk the faults are there too, and can be ended
}

// load reads the stored set, and gives up on a disk that hangs: the agent must
// start and answer.
func (c *Control) load() ([]fault.Fault, error) {
	loaded, done := make(chan []fault.Fault, 1), make(chan error, 1)
	go func() {
		faults, err := c.store.load(c.boot)
		loaded <- faults
		done <- err
	}()
	if err := await(done); err != nil {
		return nil, err
	}
	return <-loaded, nil
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
