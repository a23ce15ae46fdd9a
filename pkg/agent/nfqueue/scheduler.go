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

var errClosed = errors.New("engine has stopped")

// conn is what the scheduler needs of its socket.
type conn interface {
	send(m message) error
	receive() (batch, error)
	backlog() (packets uint32, known bool)
	close() error
}

// scheduler decides when the packets in the kernel's queues leave. It reads all
// queues over one socket. Its methods are safe for concurrent use.
type scheduler struct {
	epoch time.Time // 0 on the clock of the deadlines
	wake  func()

	mu       sync.Mutex
	kernel   conn
	queues   map[uint16]*queue // those that are bound, by number
	hasSink  bool              // the sink queue is bound
	verdicts *verdicts
	// stepLeft is how many packets may be released before the kernel's backlog is
	// looked at. When it is 0, stepEnd is the time of the last one.
	stepLeft uint32
	stepEnd  time.Duration
	closed   bool
}

// newScheduler binds no queue yet. It owns the socket. It calls wake whenever
// process must be called before the time that it last returned.
func newScheduler(kernel conn, wake func()) *scheduler {
	return &scheduler{
		epoch: time.Now(), wake: wake,
		kernel: kernel, queues: make(map[uint16]*queue), verdicts: newVerdicts(kernel.send), stepLeft: stepSize,
	}
}

// configure binds a queue with an impairment, or changes the impairment of one
// that is bound. From here on the packets of the queue wait. memory is for its
// waiting packets, in bytes.
func (s *scheduler) configure(number uint16, i fault.Impairment, memory uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	defer s.wakeIfBusy()
	limit := packetLimit(memory)
	// The kernel counts packets that wait here and those whose message is still
	// unread. Its own limit is above both, so that ours decides.
	config := queueConfig{maxLen: 2*limit + maxUnread, sizes: i.Rate != nil, segmented: i.Rate != nil && isSlow(*i.Rate)}
	if q, bound := s.queues[number]; bound {
		if err := s.request(reconfigure(number, config)); err != nil {
			return fmt.Errorf("configure queue %d: %w", number, err)
		}
		q.setImpairment(i, limit, s.clock())
		return nil
	}
	// The first packets may come with the answer, so the queue is there before.
	s.queues[number] = &queue{number: number, emulator: newEmulator(i), limit: limit}
	if err := s.request(bind(number, config)); err != nil {
		delete(s.queues, number)
		return fmt.Errorf("bind queue %d: %w", number, err)
	}
	return nil
}

// isSlow reports whether a link sends a large segment of TCP, 64 KiB, for so long
// that other packets notice: 5 ms at 100 mbit/s. Such a segment is cut up before
// it is queued. A faster link gets it whole, because a packet costs more here
// than in the kernel.
func isSlow(r fault.Rate) bool { return r.BitsPerSecond <= 100_000_000 }

// bindSink binds the sink queue, if it is not bound yet. Call it after the
// queues of copies are bound. A packet can then be doubled for a moment, but
// not lost.
func (s *scheduler) bindSink() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if s.hasSink {
		return nil
	}
	defer s.wakeIfBusy()
	if err := s.request(bindSink(sinkQueue)); err != nil {
		return fmt.Errorf("bind queue %d: %w", sinkQueue, err)
	}
	s.hasSink = true
	return nil
}

// process reads one batch of packets and releases those that are due, or as many
// as one step has. It returns how long it is until it must be called again,
// forever if nothing waits.
func (s *scheduler) process() (wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, errClosed
	}
	if _, err := s.receive(); err != nil {
		return 0, fmt.Errorf("read queues: %w", err)
	}
	if pause, err := s.releaseDue(); pause > 0 || err != nil {
		return pause, err
	}
	now := s.clock()
	wait = forever
	for _, q := range s.queues {
		if deadline, ok := q.nextDeadline(); ok {
			wait = min(wait, deadline-now)
		}
	}
	return wait, nil
}

// wakeIfBusy is for the end of a change: a changed queue has other deadlines, and
// the change may have read packets. It does nothing while nothing waits, since the
// change goes on and would wait for process.
func (s *scheduler) wakeIfBusy() {
	busy := len(s.verdicts.buffer) > 0
	for _, q := range s.queues {
		busy = busy || q.waiting() > 0
	}
	if busy {
		s.wake()
	}
}

// clock returns the current time on the clock of the deadlines.
func (s *scheduler) clock() time.Duration { return time.Since(s.epoch) }

// receive reads one batch and gives its packets to their queues. Their delay
// begins after the read. If it began before, a packet that arrives during the
// read would leave too early.
func (s *scheduler) receive() (batch, error) {
	b, err := s.kernel.receive()
	now := s.clock()
	for _, p := range b.packets {
		if q := s.queues[p.queue]; q != nil { // else it was unbound meanwhile
			q.enqueue(p, now, s.verdicts)
		}
	}
	return b, err
}

// drain reads batches until nothing is unread.
func (s *scheduler) drain() error {
	for {
		b, err := s.receive()
		if err != nil {
			return fmt.Errorf("read queues: %w", err)
		}
		if b.messages == 0 {
			return nil
		}
	}
}

func (s *scheduler) request(m message) error {
	return request(m, s.kernel.send, s.receive)
}

// boundQueues returns the numbers of the queues that are bound, less the sink.
func (s *scheduler) boundQueues() []uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.queues))
}

// queueStatus is what a queue does and what it counted.
type queueStatus struct {
	impairment     fault.Impairment
	early, dropped uint64 // packets; see queue
}

// status returns the status of a queue, and false if it is not bound.
func (s *scheduler) status(number uint16) (queueStatus, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[number]
	if q == nil {
		return queueStatus{}, false
	}
	return queueStatus{q.emulator.Impairment, q.early, q.dropped}, true
}
