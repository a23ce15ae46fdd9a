package control

import (
	"context"
	"slices"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// retryInterval is how long to wait after a fault could not be ended.
const retryInterval = 2 * time.Second

// Run ends each fault when its time is over. It blocks until ctx ends. A fault
// that can't be ended is logged and tried again.
func (c *Control) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.rescheduled:
		case <-timer.C:
		}
		wait, err := c.expire()
		if err != nil {
			c.log.Error("end a fault whose time is over", "err", err)
			wait = retryInterval
		}
		timer.Stop() // since Go 1.23 nothing stale is left in its channel
		if wait > 0 {
			timer.Reset(wait)
		}
	}
}

// expire ends the faults whose time is over. It returns how long it is until
// the next deadline, 0 if there is none.
func (c *Control) expire() (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	before, live := c.desired, alive(c.desired.Faults, now)
	if len(live) < len(before.Faults) {
		if err := c.commit(before, newSet(live)); err != nil {
			return 0, err
		}
		for _, d := range diff(before.Faults, live) {
			if d.Fault == nil {
				c.log.Info("fault ended", "fault", d.Name)
			}
		}
	}
	return untilNext(live, now), nil
}

// alive returns the faults whose time is not over.
func alive(faults []fault.Fault, now time.Time) []fault.Fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f fault.Fault) bool {
		return !f.ExpiresAt.IsZero() && !f.ExpiresAt.After(now)
	})
}

// untilNext returns how long it is until the earliest deadline, 0 if there is
// none.
func untilNext(faults []fault.Fault, now time.Time) time.Duration {
	var next time.Duration
	for _, f := range faults {
		if f.ExpiresAt.IsZero() {
			continue
		}
		if wait := max(f.ExpiresAt.Sub(now), 1); next == 0 || wait < next {
			next = wait
		}
	}
	return next
}
