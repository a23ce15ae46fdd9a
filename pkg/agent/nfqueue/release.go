//go:build linux

package nfqueue

import (
	"errors"
	"fmt"

	"github.com/tidelay/tidelay/pkg/fault"
)

// release ends the impairment of a queue: what waits leaves at once and in
// order, and so does what comes.
func (s *scheduler) release(queue uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kernel == nil || s.lanes[queue] == nil {
		return nil // without a reader nothing waits
	}
	defer s.wake()
	return s.releaseLane(s.lanes[queue])
}

func (s *scheduler) releaseLane(l *lane) error {
	l.shape = newShape(fault.Impairment{})
	if err := s.drain(); err != nil {
		return err
	}
	l.flush(s.out)
	return s.out.flush()
}

// retire gives a queue back to which no rule leads any more.
func (s *scheduler) retire(queue uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes[queue]
	if s.kernel == nil || l == nil {
		return nil
	}
	defer s.wake()
	err := s.empty(l)
	if err = errors.Join(err, s.request(unbind(queue))); err != nil {
		return fmt.Errorf("give queue %d back: %w", queue, err)
	}
	delete(s.lanes, queue)
	return nil
}

// empty lets go of what waits and of what comes. What a queue holds when its
// reader leaves is dropped, so it has to be empty and stay empty: a queue
// without room lets packets pass.
func (s *scheduler) empty(l *lane) error {
	return errors.Join(
		s.releaseLane(l),
		s.request(setMaxLen(l.queue, 0)),
		s.releaseLane(l),
	)
}

// close lets go of what waits and gives all queues back. Afterwards the rules
// let everything pass.
func (s *scheduler) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kernel == nil {
		return nil
	}
	var errs []error
	for _, l := range s.lanes {
		errs = append(errs, s.empty(l))
	}
	if s.sink {
		errs = append(errs, s.request(unbind(sinkQueue)))
	}
	errs = append(errs, s.kernel.close())
	s.kernel = nil
	return errors.Join(errs...)
}
