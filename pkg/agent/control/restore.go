package control

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Restore makes the stored set the desired one and applies it, without the
// faults whose time is over. It is called once, before anything else.
//
// Without a stored set, the faults that the kernel has are adopted and end
// after maxDuration (0 for never). What the engine can't explain is removed,
// because nothing would ever end it. Devices are the interfaces that a stored
// fault can name.
func (c *Control) Restore(maxDuration time.Duration, devices []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	stored, err := c.store.load(devices)
	if err != nil && !errors.Is(err, errNoState) {
		if !errors.Is(err, errDamaged) {
			return err
		}
		c.warning = err.Error()
		c.log.Error("read the state of an earlier agent", "err", err)
	}
	if err != nil {
		if stored, err = c.adopt(maxDuration); err != nil {
			return fmt.Errorf("adopt what an earlier agent left: %w", err)
		}
	}
	live := alive(stored, time.Now())
	for _, f := range stored {
		if fault.Find(live, f.Name) == nil {
			c.log.Info("fault ended while no agent ran", "fault", f.Name, "expiresAt", f.ExpiresAt)
		}
	}
	c.desired = newSet(live) // also when Apply fails: the status then says that the kernel lacks them
	if err := c.engine.Apply(live); err != nil {
		return fmt.Errorf("restore %d faults: %w", len(live), err)
	}
	if len(live) > 0 {
		c.log.Info("faults restored", "faults", strings.Join(fault.Names(live), ", "))
	}
	return c.store.save(c.desired.Wire)
}

func (c *Control) adopt(maxDuration time.Duration) ([]fault.Fault, error) {
	left, err := c.engine.Adopt()
	if errors.Is(err, fault.ErrLeftover) {
		c.log.Warn("removing faults", "reason", err.Error())
		return nil, nil
	}
	if maxDuration > 0 {
		for i := range left {
			left[i].ExpiresAt = time.Now().Add(maxDuration)
		}
	}
	return left, err
}
