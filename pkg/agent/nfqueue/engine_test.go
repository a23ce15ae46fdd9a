//go:build linux

package nfqueue

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// newTestEngine returns an engine over a fake kernel, with packets that wait for
// an hour in queue 1.
func newTestEngine(t *testing.T, packets int) (*Engine, *fakeKernel) {
	t.Helper()
	p, _ := newTestPoller(t)
	k := newFakeKernel()
	flags, err := openFlagClearer()
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{poller: p, scheduler: newScheduler(k, p.wake), flags: flags}
	if err := e.scheduler.configure(1, fault.Impairment{Delay: time.Hour}, testMemory); err != nil {
		t.Fatal(err)
	}
	k.arrive(1, packets)
	return e, k
}

// The end of the context ends Run, at any time. Packets that wait leave first, and
// the socket is closed.
func TestRunEndsWithItsContext(t *testing.T) {
	for name, cancelled := range map[string]time.Duration{
		"before it starts": 0, "while it starts": time.Nanosecond, "while it waits": 20 * ms,
	} {
		e, k := newTestEngine(t, 3)
		ctx, cancel := context.WithTimeout(t.Context(), cancelled)
		if err := e.Run(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		k.expectLeft(t, 1, 1, 2, 3)
		if !k.closed {
			t.Errorf("%s: the socket is still open", name)
		}
	}
}

func TestRunAfterClose(t *testing.T) {
	e, k := newTestEngine(t, 1)
	if err := errors.Join(e.Close(), e.Close()); err != nil || !k.closed {
		t.Errorf("close: %v, closed %t", err, k.closed)
	}
	if err := e.Run(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("run after close: %v", err)
	}
}

// A closed engine opens no other connection to the kernel.
func TestAClosedEngineDoesNothing(t *testing.T) {
	e := &Engine{closed: true}
	_, stateErr := e.State(nil)
	_, adoptErr := e.Adopt()
	for what, err := range map[string]error{
		"apply": e.Apply(nil), "reapply": e.Reapply(nil), "end beside": e.endBeside(nil, nil), "read": stateErr, "adopt": adoptErr, "follow": e.followObstacles(),
	} {
		if !errors.Is(err, errClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
