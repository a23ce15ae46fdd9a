package control

import (
	"errors"
	"sync"
	"time"
)

// saveTimeout is how long a change waits for the disk. A disk that hangs must not
// keep the next request from ending a fault.
const saveTimeout = 2 * time.Second

var (
	// errSlowDisk reports a write that has not come to an end.
	errSlowDisk = errors.New("the disk did not answer within " + saveTimeout.String())
	// errSuperseded reports a write that a later one made needless.
	errSuperseded = errors.New("a later write took its place")
)

// saver makes one write at a time and never waits longer than saveTimeout. If a
// write hangs, only the last of those that were asked for meanwhile is made.
type saver struct {
	writing chan struct{} // has a value while a write is under way

	mu    sync.Mutex
	asked int // how many writes were asked for
}

func newSaver() *saver { return &saver{writing: make(chan struct{}, 1)} }

// save makes a write. After an error it may still be made later, unless another
// one is asked for.
func (s *saver) save(write func() error) error {
	s.mu.Lock()
	s.asked++
	number := s.asked
	s.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		s.writing <- struct{}{}
		defer func() { <-s.writing }()
		if !s.isLast(number) {
			done <- errSuperseded
			return
		}
		done <- write()
	}()
	timeout := time.NewTimer(saveTimeout)
	defer timeout.Stop()
	select {
	case err := <-done:
		return err
	case <-timeout.C:
		return errSlowDisk
	}
}

func (s *saver) isLast(number int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return number == s.asked
}
