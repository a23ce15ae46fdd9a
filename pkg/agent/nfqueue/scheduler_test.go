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

func newTestScheduler(t testing.TB, impairments map[uint16]fault.Impairment) (*scheduler, *fakeKernel) {
	t.Helper()
	k := newFakeKernel()
	s := newScheduler(k, func() {})
	for queue, i := range impairments {
		if err := s.configure(queue, i, testMemory); err != nil {
			t.Fatal(err)
		}
	}
	return s, k
}

func process(t testing.TB, s *scheduler) time.Duration {
	t.Helper()
	wait, err := s.process()
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

// Each queue has its own delay, and the scheduler waits for the first deadline of
// all.
func TestSchedulerServesAllQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {Delay: 20 * ms}, 2: {Delay: 5 * ms}})
		if wait := process(t, s); wait != forever {
			t.Errorf("waits %v for nothing", wait)
		}
		k.arrive(1, 2)
		k.arrive(2, 1)
		if wait := process(t, s); wait != 5*ms {
			t.Errorf("waits %v, want 5ms", wait)
		}
		k.expectLeft(t, 2)
		time.Sleep(5 * ms)
		if wait := process(t, s); wait != 15*ms {
			t.Errorf("waits %v, want 15ms", wait)
		}
		k.expectLeft(t, 2, 1)
		k.expectLeft(t, 1)
		time.Sleep(15 * ms)
		if wait := process(t, s); wait != forever {
			t.Errorf("waits %v for nothing", wait)
		}
		k.expectLeft(t, 1, 1, 2)
	})
}

// A packet may arrive while a slow batch is read. Its delay must not begin before
// it arrived.
func TestSchedulerIsNeverEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {Delay: 20 * ms}})
		k.slow = 15 * ms
		k.arrive(1, 1) // at any time in these 15 ms
		if wait := process(t, s); wait != 20*ms {
			t.Errorf("waits %v after the packet was read, want 20ms", wait)
		}
	})
}

// A change of one queue does not affect another one, whose packets may arrive
// during the change.
func TestSchedulerChangesOneQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {Delay: 20 * ms}, 2: {Delay: time.Hour}})
		k.arrive(2, 1)
		process(t, s)
		for _, change := range []func() error{
			func() error { return s.configure(2, fault.Impairment{Delay: ms}, testMemory) },
			func() error { return s.configure(3, fault.Impairment{Delay: ms}, testMemory) },
			s.bindSink,
			func() error { return s.release(2) },
			func() error { return s.unbind(2) },
		} {
			k.late = 1
			if err := change(); err != nil {
				t.Fatal(err)
			}
		}
		k.expectLeft(t, 2, 1)
		k.expectLeft(t, 1)
		time.Sleep(20 * ms)
		process(t, s)
		k.expectLeft(t, 1, 1, 2, 3, 4)
		if got := s.boundQueues(); !slices.Equal(got, []uint16{1, 3}) {
			t.Errorf("queues %v", got)
		}
	})
}

// Whoever sleeps until a packet is due must be told that it is due earlier.
func TestSchedulerWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wakes := 0
		s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {Delay: time.Hour}})
		s.wake = func() { wakes++ }
		k.arrive(1, 1)
		if wait := process(t, s); wait != time.Hour {
			t.Fatalf("waits %v", wait)
		}
		if err := s.configure(1, fault.Impairment{Delay: 5 * ms}, testMemory); err != nil || wakes == 0 {
			t.Errorf("%v, %d wakes", err, wakes)
		}
		if wait := process(t, s); wait != 5*ms {
			t.Errorf("waits %v after the change, want 5ms", wait)
		}
	})
}

// The packets of a queue that is given back leave first, also those whose message
// is still unread.
func TestSchedulerLosesNothingAtTheEnd(t *testing.T) {
	for name, end := range map[string]func(*scheduler) error{
		"unbind": func(s *scheduler) error { return s.unbind(1) },
		"close":  (*scheduler).close,
	} {
		s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {Delay: time.Hour, Jitter: time.Minute, Distribution: fault.Uniform}})
		k.arrive(1, 2)
		process(t, s)
		k.arrive(1, 1) // not read yet
		k.late = 2     // arrive while the queue is given back
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
	if err := errors.Join(s.bindSink(), s.close(), s.close(), s.release(1), s.unbind(1)); err != nil {
		t.Errorf("close twice, and release and unbind after it: %v", err)
	}
	if _, there := k.queues[sinkQueue]; there || !k.closed {
		t.Error("the sink or the socket is still there")
	}
	_, err := s.process()
	for _, err := range []error{err, s.bindSink(), s.configure(1, fault.Impairment{}, testMemory)} {
		if !errors.Is(err, errClosed) {
			t.Errorf("after close: %v", err)
		}
	}
}

func TestSchedulerReportsTheKernelsErrors(t *testing.T) {
	s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {Delay: ms}})
	k.refusals[2], k.refusals[sinkQueue] = unix.EPERM, unix.EBUSY
	if err := s.configure(2, fault.Impairment{}, testMemory); !errors.Is(err, unix.EPERM) {
		t.Errorf("bind refused: %v", err)
	}
	if err := s.bindSink(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("sink refused: %v", err)
	}
	if _, bound := s.status(2); bound {
		t.Error("a queue that was refused counts as bound")
	}
	k.refusals[1] = unix.EINVAL
	if err := s.configure(1, fault.Impairment{Delay: 2 * ms}, testMemory); !errors.Is(err, unix.EINVAL) {
		t.Errorf("change refused: %v", err)
	}
	if l, _ := s.status(1); l.impairment.Delay != ms {
		t.Errorf("a change that was refused is in force: %+v", l)
	}
	k.unread = append(k.unread, reply{answer: unix.EIO})
	if _, err := s.process(); !errors.Is(err, unix.EIO) {
		t.Errorf("a verdict that was refused: %v", err)
	}
	k.broken = unix.ENOMEM
	if _, err := s.process(); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("process: %v", err)
	}
	if err := s.release(1); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("release: %v", err)
	}
}
