//go:build linux

package nfqueue

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// fakeKernel is a netfilter queue that holds packets as the kernel does.
type fakeKernel struct {
	next     uint32   // id of the next packet
	unread   []batch  // messages that were not received
	held     []uint32 // ids in the queue
	released []uint32
	maxLen   uint32
	requests int
	sinks    int
	refusal  error // of every request
	broken   error // of receive
	closed   bool
}

// queue puts packets into the queue. Those without room pass.
func (k *fakeKernel) queue(count uint32) {
	for range count {
		if uint32(len(k.held)) < k.maxLen {
			k.held = append(k.held, k.next)
		}
		k.next++
	}
	k.unread = append(k.unread, batch{messages: int(count), packets: count, last: k.next - 1})
}

// lose queues packets whose messages find no room, so that they pass.
func (k *fakeKernel) lose(count uint32) { k.next += count }

func (k *fakeKernel) fd() int { return 42 }

func (k *fakeKernel) send(m message) error {
	if k.closed {
		return unix.EBADF
	}
	if binary.NativeEndian.Uint16(m[4:]) == typeVerdictBatch {
		upTo := binary.BigEndian.Uint32(m[len(m)-4:])
		for len(k.held) > 0 && int32(k.held[0]-upTo) <= 0 {
			k.released = append(k.released, k.held[0])
			k.held = k.held[1:]
		}
		return nil
	}
	k.requests++
	switch {
	case slices.Equal(m, bindDelay(delayQueue, maxQueued)):
		k.maxLen = maxQueued
	case slices.Equal(m, setMaxLen(delayQueue, 0)):
		k.maxLen = 0
	case slices.Equal(m, bindSink(sinkQueue)):
		k.sinks++
	case slices.Equal(m, unbind(sinkQueue)):
		k.sinks--
	default:
		return errors.New("unknown request")
	}
	k.unread = append(k.unread, batch{messages: 1, answers: 1, err: k.refusal})
	return nil
}

func (k *fakeKernel) receive() (batch, error) {
	if k.broken != nil || len(k.unread) == 0 {
		return batch{}, k.broken
	}
	b := k.unread[0]
	k.unread = k.unread[1:]
	return b, nil
}

func (k *fakeKernel) close() error {
	k.closed = true
	return nil
}

// newTestQueue returns a queue over a kernel that numbers packets from first.
func newTestQueue(t testing.TB, first uint32, delay time.Duration) (*queue, *fakeKernel) {
	t.Helper()
	k := &fakeKernel{next: first}
	q, err := newQueue(k, delay)
	if err != nil {
		t.Fatal(err)
	}
	q.newest = first - 1
	return q, k
}

func turn(t testing.TB, q *queue) time.Duration {
	t.Helper()
	wait, err := q.turn()
	if err != nil {
		t.Fatal(err)
	}
	return wait
}

func expectReleased(t *testing.T, k *fakeKernel, want ...uint32) {
	t.Helper()
	if !slices.Equal(k.released, want) {
		t.Errorf("released %v, want %v", k.released, want)
	}
}

const ms = time.Millisecond

func TestQueueDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, k := newTestQueue(t, 1, 20*ms)
		if wait := turn(t, q); wait != forever {
			t.Errorf("waits %v for nothing", wait)
		}
		k.queue(2)
		if wait := turn(t, q); wait != 20*ms {
			t.Errorf("waits %v, want 20ms", wait)
		}
		time.Sleep(5 * ms)
		k.queue(1)
		if wait := turn(t, q); wait != 15*ms {
			t.Errorf("waits %v, want 15ms", wait)
		}
		expectReleased(t, k)
		time.Sleep(15 * ms)
		if wait := turn(t, q); wait != 5*ms {
			t.Errorf("waits %v, want 5ms", wait)
		}
		expectReleased(t, k, 1, 2)
		time.Sleep(5 * ms)
		if wait := turn(t, q); wait != forever {
			t.Errorf("waits %v for nothing", wait)
		}
		expectReleased(t, k, 1, 2, 3)
	})
}

func TestQueueReplacesTheDelayInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, k := newTestQueue(t, 1, 50*ms)
		k.queue(1)
		turn(t, q)
		q.setDelay(20 * ms)
		k.queue(1)
		turn(t, q)
		time.Sleep(20 * ms)
		turn(t, q)
		expectReleased(t, k)
		time.Sleep(30 * ms)
		turn(t, q)
		expectReleased(t, k, 1, 2)
		k.queue(1)
		if wait := turn(t, q); wait != 20*ms {
			t.Errorf("waits %v, want 20ms", wait)
		}
	})
}

func TestQueueSurvivesTheLastID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, k := newTestQueue(t, 0xffffffff, 20*ms)
		k.queue(3)
		turn(t, q)
		time.Sleep(20 * ms)
		turn(t, q)
		expectReleased(t, k, 0xffffffff, 0, 1)
		if early := q.leftEarly(); early != 0 {
			t.Errorf("%d packets left early", early)
		}
	})
}

func TestQueueCountsLostMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, k := newTestQueue(t, 1, 20*ms)
		k.queue(2)
		turn(t, q)
		k.lose(5)
		k.queue(2)
		turn(t, q)
		if early := q.leftEarly(); early != 5 {
			t.Errorf("%d packets left early, want 5", early)
		}
		time.Sleep(20 * ms)
		turn(t, q)
		expectReleased(t, k, 1, 2, 8, 9)
	})
}

func TestQueueFullLetsTheOldestGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, k := newTestQueue(t, 1, 20*ms)
		for range maxPackets / batchSize {
			k.queue(batchSize)
			turn(t, q)
		}
		expectReleased(t, k)
		k.queue(1)
		turn(t, q)
		if got := len(k.released); got != batchSize {
			t.Errorf("%d packets released, want the %d that came first", got, batchSize)
		}
		if early := q.leftEarly(); early != batchSize {
			t.Errorf("%d packets left early, want %d", early, batchSize)
		}
		q.setDelay(30 * ms)
		if early := q.leftEarly(); early != 0 {
			t.Errorf("%d packets left early under a new delay", early)
		}
	})
}

func TestQueueRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, k := newTestQueue(t, 1, time.Hour)
		k.queue(2)
		turn(t, q)
		k.queue(1) // not read yet
		if err := q.release(); err != nil {
			t.Fatal(err)
		}
		expectReleased(t, k, 1, 2, 3)
		k.queue(1)
		if wait := turn(t, q); wait != forever {
			t.Errorf("waits %v after release", wait)
		}
		expectReleased(t, k, 1, 2, 3, 4)
	})
}

func TestQueueClose(t *testing.T) {
	q, k := newTestQueue(t, 1, time.Hour)
	k.queue(2)
	if err := q.close(); err != nil {
		t.Fatal(err)
	}
	expectReleased(t, k, 1, 2)
	if len(k.held) > 0 || k.maxLen > 0 || k.sinks > 0 || !k.closed {
		t.Errorf("left behind: %+v", k)
	}
	if err := q.close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if err := q.release(); err != nil {
		t.Errorf("release after close: %v", err)
	}
	if _, err := q.turn(); !errors.Is(err, errStopped) {
		t.Errorf("turn after close: %v", err)
	}
	if _, err := q.running(); !errors.Is(err, errStopped) {
		t.Errorf("running after close: %v", err)
	}
}

func TestQueueReportsTheKernelsErrors(t *testing.T) {
	refused := &fakeKernel{refusal: unix.EPERM}
	if _, err := newQueue(refused, 0); !errors.Is(err, unix.EPERM) || !refused.closed {
		t.Errorf("bind refused: %v, closed %v", err, refused.closed)
	}
	q, k := newTestQueue(t, 1, 0)
	k.broken = unix.EIO
	if _, err := q.turn(); !errors.Is(err, unix.EIO) {
		t.Errorf("turn: %v", err)
	}
	if err := q.release(); !errors.Is(err, unix.EIO) {
		t.Errorf("release: %v", err)
	}
	k.broken = nil
	k.unread = append(k.unread, batch{messages: 1, answers: 1, err: unix.EINVAL})
	if _, err := q.turn(); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a verdict that was refused: %v", err)
	}
}

// packetsOnly is a kernel that always has one more batch, and forgets.
type packetsOnly struct {
	fakeKernel
	size uint32
}

func (k *packetsOnly) receive() (batch, error) {
	if len(k.unread) > 0 {
		return k.fakeKernel.receive()
	}
	k.next += k.size
	return batch{messages: int(k.size), packets: k.size, last: k.next}, nil
}

func BenchmarkTurn(b *testing.B) {
	k := &packetsOnly{size: batchSize}
	q, err := newQueue(k, time.Millisecond)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := q.turn(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSize, "ns/packet")
}

func TestTurnDoesNotAllocate(t *testing.T) {
	q, err := newQueue(&packetsOnly{size: batchSize}, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if allocs := testing.AllocsPerRun(1000, func() { turn(t, q) }); allocs > 0 {
		t.Errorf("%v allocations for a batch", allocs)
	}
}
