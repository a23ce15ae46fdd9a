//go:build linux

package nfqueue

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newTestPoller(ctx context.Context, t *testing.T) (p *poller, input int) {
	t.Helper()
	input, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	p, err = newPoller(ctx, input)
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

func expectWait(t *testing.T, p *poller, longest time.Duration, wantEnded bool) {
	t.Helper()
	if ended, err := p.wait(longest); err != nil || ended != wantEnded {
		t.Fatalf("ended %v, %v; want %v", ended, err, wantEnded)
	}
}

func TestPollerTimer(t *testing.T) {
	p, _ := newTestPoller(t.Context(), t)
	for _, wait := range []time.Duration{-time.Second, 0, time.Microsecond, 3 * time.Millisecond} {
		start := time.Now()
		expectWait(t, p, wait, false)
		if took := time.Since(start); took < wait {
			t.Errorf("waited %v instead of %v", took, wait)
		}
	}
}

func TestPollerInputAndEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, input := newTestPoller(ctx, t)
	// The timer of a wait that is over stays silent in the next one.
	expectWait(t, p, time.Microsecond, false)
	if _, err := unix.Write(input, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	expectWait(t, p, forever, false)
	if p.fds[pollTimer].Revents != 0 {
		t.Error("the timer ended a wait that has none")
	}
	if _, err := unix.Read(input, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	cancel()
	expectWait(t, p, forever, true)
	expectWait(t, p, forever, true)
}
