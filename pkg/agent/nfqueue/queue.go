//go:build linux

package nfqueue

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// delayQueue holds packets until they are due.
	delayQueue = 2332
	// sinkQueue swallows the originals of packets whose copies are delayed.
	sinkQueue = 2333
	// maxPackets is how many packets wait at most; beyond that the oldest leave
	// early. It is 2 s of 65,000 packets a second.
	maxPackets = 1 << 17
	// maxQueued is the kernel's own limit. Packets that are in the queue but
	// not in the ring have a message in the receive buffer, which has room for
	// fewer than maxPackets, so the kernel never gets there.
	maxQueued = 2 * maxPackets
)

var errStopped = errors.New("engine has stopped")

// conn is what a queue needs of its socket.
type conn interface {
	fd() int
	send(m message) error
	receive() (batch, error)
	close() error
}

// queue decides when the packets that the kernel holds leave.
type queue struct {
	epoch time.Time // where the clock of the deadlines starts

	mu     sync.Mutex
	kernel conn // nil once closed
	ring   *ring
	accept message
	delay  time.Duration
	newest uint32 // id of the packet that came last
	early  uint64 // packets that left before they were due
}

// newQueue begins to read the queues: from here on packets wait until turn or
// release lets them go. It owns the socket.
func newQueue(kernel conn, delay time.Duration) (*queue, error) {
	q := &queue{
		epoch:  time.Now(),
		kernel: kernel,
		ring:   newRing(maxPackets),
		accept: acceptUpTo(delayQueue),
		delay:  delay,
	}
	// The sink comes second: better a packet twice than not at all.
	for _, m := range []message{bindDelay(delayQueue, maxQueued), bindSink(sinkQueue)} {
		if err := q.request(m); err != nil {
			return nil, errors.Join(fmt.Errorf("bind queue: %w", err), kernel.close())
		}
	}
	return q, nil
}

// running returns the descriptor that is readable when there is something to
// take in, and errStopped after close.
func (q *queue) running() (fd int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.kernel == nil {
		return -1, errStopped
	}
	return q.kernel.fd(), nil
}

// setDelay is for the packets that come from now on. Those that wait keep
// their deadlines and their order.
func (q *queue) setDelay(delay time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if delay != q.delay {
		q.delay, q.early = delay, 0
	}
}

// leftEarly returns how many packets left before they were due since the delay
// was set.
func (q *queue) leftEarly() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.early
}

// turn takes in what the kernel queued and lets go of what is due. It returns
// how long the oldest packet that stays has to wait, forever if none does.
func (q *queue) turn() (time.Duration, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.kernel == nil {
		return 0, errStopped
	}
	b, err := q.take()
	if err = errors.Join(err, b.err); err != nil {
		return 0, fmt.Errorf("read queue: %w", err)
	}
	if err := q.letGo(time.Since(q.epoch)); err != nil {
		return 0, fmt.Errorf("release packets: %w", err)
	}
	if oldest, ok := q.ring.next(); ok {
		return oldest.due - time.Since(q.epoch), nil
	}
	return forever, nil
}

// release ends the delay: what waits leaves at once and in order, and so does
// what comes.
func (q *queue) release() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.kernel == nil {
		return nil // without a reader nothing waits
	}
	return q.releaseAll()
}

// close lets go of what waits and gives the queues back. Afterwards the rules
// let everything pass.
func (q *queue) close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.kernel == nil {
		return nil
	}
	// What a queue holds when its reader leaves is dropped, so it has to be
	// empty and stay empty: a queue without room lets packets pass.
	err := errors.Join(
		q.releaseAll(),
		q.request(setMaxLen(delayQueue, 0)),
		q.releaseAll(),
		q.request(unbind(sinkQueue)),
		q.kernel.close(),
	)
	q.kernel = nil
	return err
}

// take reads one batch and gives its packets their deadline.
func (q *queue) take() (batch, error) {
	b, err := q.kernel.receive()
	if err != nil || b.packets == 0 {
		return b, err
	}
	// Ids are consecutive. A missing one is that of a packet whose message
	// found no room; the kernel let it pass.
	q.early += uint64(b.last - q.newest - b.packets)
	q.newest = b.last
	q.ring.push(b.last, b.packets, time.Since(q.epoch)+q.delay)
	return b, nil
}

// letGo releases what is due, and the oldest if there are too many.
func (q *queue) letGo(now time.Duration) error {
	released := false
	for {
		oldest, ok := q.ring.next()
		if !ok || oldest.due > now && !q.ring.full() {
			break
		}
		if oldest.due > now {
			q.early += uint64(oldest.count)
		}
		q.ring.pop()
		q.accept.setID(oldest.last)
		released = true
	}
	if !released {
		return nil
	}
	return q.kernel.send(q.accept)
}

func (q *queue) releaseAll() error {
	q.delay = 0
	for {
		b, err := q.take()
		if err = errors.Join(err, b.err); err != nil {
			return fmt.Errorf("read queue: %w", err)
		}
		if b.messages == 0 {
			break
		}
	}
	q.ring.clear()
	q.accept.setID(q.newest)
	return q.kernel.send(q.accept)
}

// request configures a queue. Packets may come before the answer does.
func (q *queue) request(m message) error {
	if err := q.kernel.send(m); err != nil {
		return err
	}
	for {
		b, err := q.take()
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
