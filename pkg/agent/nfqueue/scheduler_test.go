//go:build linux

package nfqueue

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

const testMemory = 256 << 20

func newTestScheduler(t testing.TB, shapes map[uint16]fault.Impairment) (*scheduler, *fakeKernel) {
	t.Helper()
	k := newFakeKernel()
	s := newScheduler(k)
	for queue, i := range shapes {
		if err := s.shape(queue, i, testMemory); err != nil {
			t.Fatal(err)
		}
	}
	return s, k
}

func turn(t testing.TB, s *scheduler) time.Duration {
	t.Helper()
	wait, err := s.turn()
	if err != nil {
		t.Fatal(err)
	}
	return wait
}

func (k *fakeKernel) expectLeft(t *testing.T, queue uint16, want ...uint32) {
	t.Helper()
	if got := k.left[queue]; !slices.Equal(got, want) {
		t.Errorf("%v left queue %d, want %v", got, queue, want)
	}
}

// Each queue has its own time, and the scheduler waits for the next of all.
func TestSchedulerServesAllQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {Delay: 20 * ms}, 2: {Delay: 5 * ms}})
		if wait := turn(t, s); wait != forever {
			t.Errorf("waits %v for nothing", wait)
		}
		k.come(1, 2)
		k.come(2, 1)
		if wait := turn(t, s); wait != 5*ms {
			t.Errorf("waits %v, want 5ms", wait)
		}
		k.expectLeft(t, 2)
		time.Sleep(5 * ms)
		if wait := turn(t, s); wait != 15*ms {
			t.Errorf("waits %v, want 15ms", wait)
		}
		k.expectLeft(t, 2, 1)
		k.expectLeft(t, 1)
		time.Sleep(15 * ms)
		if wait := turn(t, s); wait != forever {
			t.Errorf("waits %v for nothing", wait)
		}
		k.expectLeft(t, 1, 1, 2)
	})
}

// A reader that gets no processor time for a while before it reads must not
// take what came meanwhile for older than it is.
func TestSchedulerIsNeverEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {Delay: 20 * ms}})
		k.slow = 15 * ms
		k.come(1, 1) // at any time in these 15 ms, at the latest at their end
		if wait := turn(t, s); wait != 20*ms {
			t.Errorf("waits %v after the packet was read, want 20ms", wait)
		}
	})
}

// A change of one queue is none of another's business, whose packets may come
// while it is made.
func TestSchedulerChangesOneQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {Delay: 20 * ms}, 2: {Delay: time.Hour}})
		k.come(2, 1)
		turn(t, s)
		for _, change := range []func() error{
			func() error { return s.shape(2, fault.Impairment{Delay: ms}, testMemory) },
			func() error { return s.shape(3, fault.Impairment{Delay: ms}, testMemory) },
			s.swallow,
			func() error { return s.release(2) },
			func() error { return s.retire(2) },
		} {
			k.late = 1
			if err := change(); err != nil {
				t.Fatal(err)
			}
		}
		k.expectLeft(t, 2, 1)
		k.expectLeft(t, 1)
		time.Sleep(20 * ms)
		turn(t, s)
		k.expectLeft(t, 1, 1, 2, 3, 4)
		if got := s.queues(); !slices.Equal(got, []uint16{1, 3}) {
			t.Errorf("queues %v", got)
		}
	})
}

// The one who sleeps until a packet is due must learn that it is due earlier.
func TestSchedulerWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {Delay: time.Hour}})
		kicks := 0
		s.onKick(func() { kicks++ })
		k.come(1, 1)
		if wait := turn(t, s); wait != time.Hour {
			t.Fatalf("waits %v", wait)
		}
		if err := s.shape(1, fault.Impairment{Delay: 5 * ms}, testMemory); err != nil || kicks == 0 {
			t.Errorf("%v, %d kicks", err, kicks)
		}
		if wait := turn(t, s); wait != 5*ms {
			t.Errorf("waits %v after the change, want 5ms", wait)
		}
	})
}

// What a queue holds when it is given back, and what has no message read yet,
// leaves first.
func TestSchedulerLosesNothingAtTheEnd(t *testing.T) {
	for name, end := range map[string]func(*scheduler) error{
		"retire": func(s *scheduler) error { return s.retire(1) },
		"close":  (*scheduler).close,
	} {
		s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {Delay: time.Hour, Jitter: time.Minute, Distribution: fault.Uniform}})
		k.come(1, 2)
		turn(t, s)
		k.come(1, 1) // not read yet
		k.late = 2   // come when the end is near
		if err := end(s); err != nil {
			t.Fatal(err)
		}
		if got := k.left[1]; !slices.Equal(got, []uint32{1, 2, 3, 4, 5}) {
			t.Errorf("%s: %v left", name, got)
		}
	}
}

func TestSchedulerEnds(t *testing.T) {
	s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {Delay: time.Hour}})
	if err := errors.Join(s.swallow(), s.close(), s.close(), s.release(1), s.retire(1)); err != nil {
		t.Errorf("close twice, and what comes late: %v", err)
	}
	if _, there := k.queues[sinkQueue]; there || !k.closed {
		t.Error("the sink or the socket is still there")
	}
	_, errTurn := s.turn()
	_, errRunning := s.running()
	for _, err := range []error{errTurn, errRunning, s.swallow(), s.shape(1, fault.Impairment{}, testMemory)} {
		if !errors.Is(err, errStopped) {
			t.Errorf("after close: %v", err)
		}
	}
}

func TestSchedulerReportsTheKernelsErrors(t *testing.T) {
	s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {Delay: ms}})
	k.refusals[2], k.refusals[sinkQueue] = unix.EPERM, unix.EBUSY
	if err := s.shape(2, fault.Impairment{}, testMemory); !errors.Is(err, unix.EPERM) {
		t.Errorf("bind refused: %v", err)
	}
	if err := s.swallow(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("sink refused: %v", err)
	}
	if _, bound := s.look(2); bound {
		t.Error("a queue that was refused counts as bound")
	}
	k.refusals[1] = unix.EINVAL
	if err := s.shape(1, fault.Impairment{Delay: 2 * ms}, testMemory); !errors.Is(err, unix.EINVAL) {
		t.Errorf("change refused: %v", err)
	}
	if l, _ := s.look(1); l.impairment.Delay != ms {
		t.Errorf("a change that was refused is in force: %+v", l)
	}
	k.unread = append(k.unread, reply{outcome: unix.EIO})
	if _, err := s.turn(); !errors.Is(err, unix.EIO) {
		t.Errorf("a verdict that was refused: %v", err)
	}
	k.broken = unix.ENOMEM
	if _, err := s.turn(); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("turn: %v", err)
	}
	if err := s.release(1); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("release: %v", err)
	}
}
