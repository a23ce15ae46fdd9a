package control

import (
	"errors"
	"sync"
	"time"
)

// saveTimeout is how long to wait for the disk. Making a fault holds up the next
// request for as long, because it is stored first.
const saveTimeout = 2 * time.Second

var (
	// errSlowDisk reports a write, or a read, that has not come to an end.
	errSlowDisk = errors.New("the disk did not answer within " + saveTimeout.String())
	// errSuperseded reports a write that a later one made needless.
	errSuperseded = errors.New("a later write took its place")
)

// saver makes one write at a time, in the background. Of those that are asked for
// while one is under way it makes only the last, so that a disk that hangs holds
// up two writes at most.
type saver struct {
	mu   sync.Mutex
	busy bool
	next *write // asked for and not begun
}

// write is a write and its result.
type write struct {
	do   func() error
	done chan error // has room for the result
}

// ask has a write made after the one that is under way. The result comes from
// done.
func (s *saver) ask(do func() error) (done <-chan error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		s.next.done <- errSuperseded
	}
	s.next = &write{do: do, done: make(chan error, 1)}
	if !s.busy {
		s.busy = true
		go s.work()
	}
	return s.next.done
}

// work makes writes until none is left.
func (s *saver) work() {
	for w := s.take(); w != nil; w = s.take() {
		w.done <- w.do()
	}
}

// take returns the next write. Without one, the saver is not busy any more.
func (s *saver) take() *write {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.next
	s.next, s.busy = nil, w != nil
	return w
}

// await waits for the result of a write, at most saveTimeout. After errSlowDisk
// the write may still be made.
func await(done <-chan error) error {
	timeout := time.NewTimer(saveTimeout)
	defer timeout.Stop()
	select {
	case err := <-done:
		return err
	case <-timeout.C:
		return errSlowDisk
	}
}
