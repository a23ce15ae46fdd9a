package control

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/fault"
)

// lasting is a fault that ends after d, beside others of the same kind.
func lasting(name string, d time.Duration) fault.Fault {
	f := late(time.Millisecond)
	f.Name, f.ExpiresAt = name, time.Now().Add(d)
	return f
}

// expiring runs a control in a bubble where time passes at once.
func expiring(t *testing.T, test func(t *testing.T, c *Control, e *enginetest.Engine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := &enginetest.Engine{}
		c := testControl(e, "")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		test(t, c, e)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func wantAfter(t *testing.T, e *enginetest.Engine, wait time.Duration, want int) {
	t.Helper()
	time.Sleep(wait)
	synctest.Wait()
	if has := e.Get().Faults; len(has) != want {
		t.Errorf("the kernel has %d faults, want %d: %q", len(has), want, fault.Names(has))
	}
}

func TestEachFaultEndsOnTime(t *testing.T) {
	expiring(t, func(t *testing.T, c *Control, e *enginetest.Engine) {
		forever := late(time.Millisecond)
		if err := apply(c, lasting("a", 10*time.Second), lasting("b", 5*time.Second), forever); err != nil {
			t.Fatal(err)
		}
		wantAfter(t, e, 5*time.Second-time.Millisecond, 3)
		wantAfter(t, e, 2*time.Millisecond, 2)
		wantAfter(t, e, 5*time.Second, 1)
		wantAfter(t, e, 1000*time.Hour, 1)
	})
}

func TestADeadlineCanMoveBothWays(t *testing.T) {
	expiring(t, func(t *testing.T, c *Control, e *enginetest.Engine) {
		for _, d := range []time.Duration{time.Hour, 2 * time.Second, 10 * time.Second} {
			if err := apply(c, lasting("a", d)); err != nil {
				t.Fatal(err)
			}
		}
		wantAfter(t, e, 10*time.Second-time.Millisecond, 1)
		wantAfter(t, e, 2*time.Millisecond, 0)
	})
}

func TestAnEndThatFailsIsTriedAgain(t *testing.T) {
	expiring(t, func(t *testing.T, c *Control, e *enginetest.Engine) {
		if err := apply(c, lasting("a", time.Second)); err != nil {
			t.Fatal(err)
		}
		e.Set(func(k *enginetest.Kernel) { k.ApplyErr = errors.New("boom") })
		wantAfter(t, e, time.Minute, 1)
		if tried := e.Get().Applied; tried < 10 || tried > 40 {
			t.Errorf("applied %d times in a minute", tried)
		}
		e.Set(func(k *enginetest.Kernel) { k.ApplyErr = nil })
		wantAfter(t, e, 2*retryInterval, 0)
	})
}
