//go:build kernel

package kernel

import (
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// A fault lasts as long as it was asked to, whatever is done to the time of day.
// Only a kernel of the test's own is a place to try that.
func TestNoStepOfTheClockLengthensALife(t *testing.T) {
	if !machine.Guest {
		t.Skip("sets the time of day: tried where the kernel is a guest, as under User Mode Linux")
	}
	a := startAgent(t)
	const life = 6 * time.Second
	set := func() (began time.Time) {
		began = time.Now()
		a.apply(api.Fault{Name: "short", Delay: "1ms", Duration: life.String()})
		return began
	}
	wantLife := func(what string, began time.Time, least time.Duration) {
		t.Helper()
		took := a.gone(life + 20*time.Second).Sub(began) // by the monotonic clock
		if took < least || took > life+7*time.Second {
			t.Errorf("%s: it ended after %s, want %s", what, took, life)
		}
	}
	t.Run("back while it runs", func(t *testing.T) {
		a.t = t
		began := set()
		defer step(t, -time.Hour)()
		wantLife("a step back", began, life-time.Second)
	})
	t.Run("forward while it runs", func(t *testing.T) {
		a.t = t
		began := set()
		defer step(t, time.Hour)()
		wantLife("a step past the end", began, 0)
	})
	t.Run("back while it is away", func(t *testing.T) {
		a.t = t
		began := set()
		a.stop(syscall.SIGKILL)
		defer step(t, -time.Hour)()
		a.start()
		wantLife("a step back and a restart", began, life-time.Second)
	})
	t.Run("back before it is sent back", func(t *testing.T) {
		a.t = t
		began := set()
		defer step(t, -time.Hour)()
		a.apply(a.faults()...)
		wantLife("a step back, set as it was read", began, life-time.Second)
	})
}

// step sets the time of day and returns how to set it back.
func step(t *testing.T, by time.Duration) (back func()) {
	t.Helper()
	move := func(by time.Duration) {
		t.Helper()
		to := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &to); err != nil {
			t.Fatalf("set the clock: %v", err)
		}
	}
	move(by)
	return func() { move(-by) }
}
