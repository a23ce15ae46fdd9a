//go:build linux

package nfqueue

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newTestPoller(t *testing.T) (p *poller, input int) {
	t.Helper()
	input, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	p, err = newPoller(input)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
		_ = unix.Close(input)
	})
	return p, input
}

func wait(t *testing.T, p *poller, longest time.Duration) {
	t.Helper()
	if err := p.wait(longest); err != nil {
		t.Fatal(err)
	}
}

func TestPollerTimer(t *testing.T) {
	p, _ := newTestPoller(t)
	for _, longest := range []time.Duration{-time.Second, 0, time.Microsecond, 3 * time.Millisecond} {
		start := time.Now()
		wait(t, p, longest)
		if took := time.Since(start); took < longest {
			t.Errorf("waited %v instead of %v", took, longest)
		}
	}
}

func TestPollerInput(t *testing.T) {
	p, input := newTestPoller(t)
	wait(t, p, time.Microsecond)
	if _, err := unix.Write(input, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	wait(t, p, forever)
	if p.fds[pollTimer].Revents != 0 {
		t.Error("the timer of the wait before ended a wait without a timer")
	}
}

// A wake ends one wait, also one that begins later.
func TestPollerWake(t *testing.T) {
	p, _ := newTestPoller(t)
	p.wake()
	p.wake()
	wait(t, p, forever)
	const longest = 3 * time.Millisecond
	start := time.Now()
	wait(t, p, longest)
	if took := time.Since(start); took < longest {
		t.Errorf("a wake also ended the second wait, after %v", took)
	}
	go p.wake()
	wait(t, p, forever)
}

// The end of a context may call wake at any time, also after the end of Run.
func TestPollerClosed(t *testing.T) {
	p, _ := newTestPoller(t)
	if err := errors.Join(p.close(), p.close()); err != nil {
		t.Error(err)
	}
	p.wake()
	if _, err := unix.Write(int(p.fds[pollWake].Fd), make([]byte, 8)); !errors.Is(err, unix.EBADF) {
		t.Errorf("the descriptor is still open: %v", err)
	}
}
