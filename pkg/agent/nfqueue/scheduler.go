//go:build linux

package nfqueue

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

var errStopped = errors.New("engine has stopped")

// conn is what a scheduler needs of its socket.
type conn interface {
	fd() int
	send(m message) error
	receive(take func(packet)) (batch, error)
	close() error
}

// scheduler decides when the packets that the kernel holds leave. It reads all
// lanes over one socket.
type scheduler struct {
	epoch time.Time // where the clock of the deadlines starts
	// kick makes Run look again, since packets that others took in may be due
	// before it looks by itself; nil while it does not run.
	kick func()

	mu     sync.Mutex
	kernel conn // nil once closed
	lanes  map[uint16]*lane
	sink   bool // the sink queue is bound
	out    *verdicts
	// now is the time of the batch that is being taken in, 0 before its first
	// packet, and arrive what takes each.
	now    time.Duration
	arrive func(packet)
}

// newScheduler reads no queue yet. It owns the socket.
func newScheduler(kernel conn) *scheduler {
	s := &scheduler{epoch: time.Now(), kernel: kernel, lanes: make(map[uint16]*lane), out: newVerdicts(kernel.send)}
	s.arrive = s.arrived
	return s
}

// running returns the descriptor that is readable when there is something to
// take in, and errStopped after close.
func (s *scheduler) running() (fd int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kernel == nil {
		return -1, errStopped
	}
	return s.kernel.fd(), nil
}

// shape makes a queue that of an impairment. From here on its packets wait.
func (s *scheduler) shape(queue uint16, i fault.Impairment, memory uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kernel == nil {
		return errStopped
	}
	defer s.wake()
	limit := limitFor(i, memory)
	// Packets that are in the queue but not in the lane have a message in the
	// receive buffer, so the kernel rarely gets to its own limit.
	most, sizes := 2*limit+maxUnread, i.Rate != nil
	if l, bound := s.lanes[queue]; bound {
		if err := s.request(reconfigure(queue, most, sizes)); err != nil {
			return fmt.Errorf("configure queue %d: %w", queue, err)
		}
		l.become(i, limit, s.clock())
		return nil
	}
	s.lanes[queue] = &lane{queue: queue, shape: newShape(i), limit: limit}
	if err := s.request(bind(queue, most, sizes)); err != nil {
		delete(s.lanes, queue)
		return fmt.Errorf("bind queue %d: %w", queue, err)
	}
	return nil
}

// swallow binds the sink. It comes after the queues of copies: better a packet
// twice than not at all.
func (s *scheduler) swallow() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kernel == nil {
		return errStopped
	}
	if s.sink {
		return nil
	}
	defer s.wake()
	if err := s.request(bindSink(sinkQueue)); err != nil {
		return fmt.Errorf("bind queue %d: %w", sinkQueue, err)
	}
	s.sink = true
	return nil
}

// turn takes in what the kernel queued and lets go of what is due. It returns
// how long the next packet has to wait, forever if none does.
func (s *scheduler) turn() (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kernel == nil {
		return 0, errStopped
	}
	b, err := s.take()
	if err = errors.Join(err, b.err); err != nil {
		return 0, fmt.Errorf("read queues: %w", err)
	}
	now := s.clock()
	wait := forever
	for _, l := range s.lanes {
		l.letGo(now, s.out)
		if due, ok := l.next(); ok {
			wait = min(wait, due-now)
		}
	}
	if err := s.out.flush(); err != nil {
		return 0, fmt.Errorf("release packets: %w", err)
	}
	return wait, nil
}

// clock is the time that deadlines are on.
func (s *scheduler) clock() time.Duration { return time.Since(s.epoch) }

// take reads one batch.
func (s *scheduler) take() (batch, error) {
	s.now = 0
	return s.kernel.receive(s.arrive)
}

// arrived decides about one packet. One of a queue that was given back is not
// there any more. The time of a batch is that after it was read: before, one
// could come in between, and its delay would have begun before it did.
func (s *scheduler) arrived(p packet) {
	if s.now == 0 {
		s.now = s.clock()
	}
	if l := s.lanes[p.queue]; l != nil {
		l.take(p, s.now, s.out)
	}
}

// drain takes in all there is.
func (s *scheduler) drain() error {
	for {
		b, err := s.take()
		if err = errors.Join(err, b.err); err != nil {
			return fmt.Errorf("read queues: %w", err)
		}
		if b.messages == 0 {
			return nil
		}
	}
}

// request configures a queue. Packets may come before the answer does.
func (s *scheduler) request(m message) error {
	if err := s.kernel.send(m); err != nil {
		return err
	}
	for {
		b, err := s.take()
		switch {
		case err != nil:
			return err
		case b.answers > 0:
			return b.err
		case b.messages == 0:
			return errors.New("no answer from the kernel")
		}
	}
}

func (s *scheduler) wake() {
	if s.kick != nil {
		s.kick()
	}
}

// onKick sets what wake does, nil for nothing.
func (s *scheduler) onKick(kick func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kick = kick
}

// queues lists those that have a lane.
func (s *scheduler) queues() []uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.lanes))
}

// laneState is what a lane does and counted.
type laneState struct {
	impairment     fault.Impairment
	early, dropped uint64
}

// look returns the state of a lane, false without one.
func (s *scheduler) look(queue uint16) (laneState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes[queue]
	if l == nil {
		return laneState{}, false
	}
	return laneState{l.shape.Impairment, l.early, l.dropped}, true
}
