package control

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// retryInterval is how long to wait after a fault could not be ended or the state
// file could not be written.
const retryInterval = 2 * time.Second

// clockInterval is how often to look at the clocks while a fault has an end. A
// timer does not notice that the time of day was set, or that the machine was
// suspended.
const clockInterval = 5 * time.Second

// Run ends each fault when its time is over, and writes the state file when that
// failed before. It blocks until ctx ends. A fault that can't be ended is tried
// again; each cause is logged once.
func (c *Control) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var failure string // of the try before
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.rescheduled:
		case <-timer.C:
		}
		wait, pending, err := c.expire()
		go c.endSave(pending) // the next fault ends on time, however long the disk takes
		cause := ""
		if err != nil {
			cause, wait = err.Error(), retryInterval
		}
		if err != nil && cause != failure {
			c.log.Error("end a fault whose time is over; trying again", "err", err)
		}
		failure = cause
		timer.Stop() // since Go 1.23 nothing stale is left in its channel
		if wait > 0 {
			timer.Reset(wait)
		}
	}
}

// expire ends the faults whose time is over. It returns how long to wait before
// it is called again, 0 for ever, and a write that the caller ends.
func (c *Control) expire() (time.Duration, pendingSave, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.overdue = nil
	now := c.now()
	before, live := c.desired, alive(c.desired.Faults, now)
	wait := untilNext(live, now)
	var pending pendingSave
	switch {
	case len(live) < len(before.Faults):
		var changed bool
		if changed, pending, c.overdue = c.commit(before, newSet(live)); changed {
			c.logEnded(before.Faults, live)
		}
		if errors.Is(c.overdue, ErrNoEngine) {
			c.overdue = nil // there is nothing to try again: the next engine removes it
		}
		if c.overdue != nil {
			return 0, pending, c.overdue
		}
	case c.unsaved != nil && c.known:
		pending = c.beginSave()
	}
	if c.unsaved != nil && (wait == 0 || wait > retryInterval) {
		wait = retryInterval
	}
	return wait, pending, nil
}

func (c *Control) logEnded(before, live []fault.Fault) {
	for _, f := range before {
		if fault.Find(live, f.Name) == nil {
			c.log.Info("fault ended", "fault", f.Name)
		}
	}
}

// alive returns the faults whose time is not over.
func alive(faults []fault.Fault, now fault.Moment) []fault.Fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f fault.Fault) bool {
		left, ends := f.Left(now)
		return ends && left <= 0
	})
}

// untilNext returns how long it is until the first fault ends, at most
// clockInterval; 0 if none ends.
func untilNext(faults []fault.Fault, now fault.Moment) time.Duration {
	var next time.Duration
	for _, f := range faults {
		left, ends := f.Left(now)
		if !ends {
			continue
		}
		if wait := min(max(left, 1), clockInterval); next == 0 || wait < next {
			next = wait
		}
	}
	return next
}
