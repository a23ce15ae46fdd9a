//go:build linux

package nfqueue

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// release ends the impairment of a queue. Packets that wait in it leave at once
// and in order, and so do those that arrive later. It does nothing for a queue
// that is not bound, since nothing waits there.
func (s *scheduler) release(number uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[number]
	if s.closed || q == nil {
		return nil
	}
	defer s.wakeIfBusy()
	return s.releaseAll(q)
}

// releaseAll ends the impairment of a queue and returns when all packets that
// waited have left.
func (s *scheduler) releaseAll(q *queue) error {
	q.setImpairment(fault.Impairment{}, q.limit, s.clock())
	if err := s.drain(); err != nil {
		return err
	}
	for latest := s.clock(); q.hasDue(latest); {
		pause, err := s.releaseDue()
		if err != nil {
			return err
		}
		if pause > 0 {
			<-time.After(pause)
		}
		// What arrives meanwhile finds no room in a socket that nobody reads.
		if _, err := s.receive(); err != nil {
			return fmt.Errorf("read queues: %w", err)
		}
	}
	return nil
}

// releaseDue releases the packets of all queues that are due, but no more than is
// left of a step. After a whole step it releases none and returns a pause, after
// which to try again, as long as the kernel has to pass on what was released.
func (s *scheduler) releaseDue() (pause time.Duration, err error) {
	now := s.clock()
	switch {
	case s.stepLeft > 0:
		s.releaseSome(now)
	case pauseOver(s.kernel, now-s.stepEnd):
		s.stepLeft = stepSize
		s.releaseSome(now)
	default:
		pause = backlogPause
	}
	if err := s.verdicts.flush(); err != nil {
		return 0, fmt.Errorf("release packets: %w", err)
	}
	return pause, nil
}

// releaseSome releases what is due, but no more than is left of the step.
func (s *scheduler) releaseSome(now time.Duration) {
	for _, q := range s.queues {
		s.stepLeft -= q.releaseDue(now, s.stepLeft, s.verdicts)
	}
	if s.stepLeft == 0 {
		s.stepEnd = now
	}
}

// unbind empties a queue and gives it back. No rule may lead to it any more.
func (s *scheduler) unbind(number uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[number]
	if s.closed || q == nil {
		return nil
	}
	defer s.wakeIfBusy()
	err := s.empty(q)
	if err = errors.Join(err, s.request(unbind(number))); err != nil {
		return fmt.Errorf("give queue %d back: %w", number, err)
	}
	delete(s.queues, number)
	return nil
}

// empty releases all packets of a queue and keeps it empty. The kernel drops
// what a queue holds when its reader leaves. With a maximum length of 0 it lets
// every further packet pass (fail-open), but some may have been queued before
// that took effect.
func (s *scheduler) empty(q *queue) error {
	return errors.Join(
		s.releaseAll(q),
		s.request(setMaxLen(q.number, 0)),
		s.releaseAll(q),
	)
}

// close releases all packets and gives all queues back. Afterwards the rules let
// everything pass.
func (s *scheduler) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, q := range s.queues {
		errs = append(errs, s.empty(q))
	}
	if s.hasSink {
		errs = append(errs, s.request(unbind(sinkQueue)))
	}
	errs = append(errs, s.kernel.close())
	return errors.Join(errs...)
}
