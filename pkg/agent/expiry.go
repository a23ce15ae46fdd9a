package agent

import (
	"context"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// retryInterval is how long to wait after a fault could not be ended.
const retryInterval = 2 * time.Second

// run ends each fault when its time is over, until ctx ends.
func (c *control) run(ctx context.Context) error {
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

// expire ends what is over and returns how long the next deadline is away, 0
// without one.
func (c *control) expire() (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	live := alive(c.desired, now)
	if ended := len(c.desired) - len(live); ended > 0 {
		before := c.desired
		if err := c.commit(before, live); err != nil {
			return 0, err
		}
		for _, step := range steps(before, live) {
			if step.fault == nil {
				c.log.Info("fault ended", "fault", step.name)
			}
		}
	}
	return untilNext(live, now), nil
}

// untilNext returns how long the earliest deadline is away, 0 without one.
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
