package control

import (
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/fault"
)

// clock is one that a test sets.
type clock struct{ fault.Moment }

func (c *clock) pass(d time.Duration) { c.Wall, c.Boot = c.Wall.Add(d), c.Boot+d }
func (c *clock) step(d time.Duration) { c.Wall = c.Wall.Add(d) }

// withClock returns a control of one boot that goes by the clock.
func withClock(e Engine, dir, boot string, at *clock) *Control {
	c := testControl(e, dir)
	c.boot, c.now = boot, func() fault.Moment { return at.Moment }
	return c
}

// ending returns a fault that ends in a time, as a request makes it.
func ending(in time.Duration, at *clock) fault.Fault {
	f := late(time.Second)
	f.EndAfter(in, at.Moment)
	return f
}

// ends says in how long the only fault ends, of what the clock may still do.
func ends(t *testing.T, c *Control, at *clock) time.Duration {
	t.Helper()
	began := at.Moment
	for range 1000 {
		wait, err := tick(c)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Desired().Faults) == 0 {
			return at.Boot - began.Boot
		}
		at.pass(min(wait, time.Second))
	}
	t.Fatal("it does not end")
	return 0
}

func TestNoStepOfTheClockLengthensALife(t *testing.T) {
	start := func() *clock { return &clock{fault.Moment{Wall: time.Unix(1_900_000_000, 0), Boot: time.Hour}} }
	const life = time.Minute
	for name, step := range map[string]time.Duration{"not at all": 0, "back": -time.Hour, "a little back": -30 * time.Second, "forward": time.Hour} {
		want := life
		if step > 0 {
			want = 0 // it is past its expiresAt
		}
		dir, at := t.TempDir(), start()
		c := withClock(&enginetest.Engine{}, dir, "boot", at)
		set := func() {
			if err := apply(c, ending(life, at)); err != nil {
				t.Fatal(err)
			}
		}
		set()
		at.step(step)
		if got := ends(t, c, at); got != want {
			t.Errorf("%s, while an agent runs: it ends after %s, want %s", name, got, want)
		}

		set()
		at.step(step)
		next := withClock(&enginetest.Engine{}, dir, "boot", at)
		if err := next.Restore(); err != nil {
			t.Fatal(err)
		}
		if got := ends(t, next, at); got != want {
			t.Errorf("%s, while no agent runs: it ends after %s, want %s", name, got, want)
		}

		set()
		at.step(step)
		readBack := c.Desired().Faults[0]
		readBack.Deadline = at.Boot + readBack.ExpiresAt.Sub(at.Wall) // as a request makes it
		if err := apply(c, readBack); err != nil {
			t.Fatal(err)
		}
		if got := ends(t, c, at); got != want {
			t.Errorf("%s, and set again as it was read: it ends after %s, want %s", name, got, want)
		}
	}
}

// After another start of the node only the time of day is left to go by.
func TestAnotherBoot(t *testing.T) {
	dir, at := t.TempDir(), &clock{fault.Moment{Wall: time.Unix(1_900_000_000, 0), Boot: 100 * time.Hour}}
	if err := apply(withClock(&enginetest.Engine{}, dir, "first", at), ending(10*time.Minute, at)); err != nil {
		t.Fatal(err)
	}
	at.pass(4 * time.Minute)
	at.Boot = time.Minute
	next := withClock(&enginetest.Engine{}, dir, "second", at)
	if err := next.Restore(); err != nil {
		t.Fatal(err)
	}
	at.step(-time.Hour) // from here on it counts for nothing
	if got := ends(t, next, at); got != 6*time.Minute {
		t.Errorf("it ends after %s, want 6m", got)
	}
}

// The cap holds for what an earlier agent stored, whatever the clocks say.
func TestTheCapHoldsAfterARestart(t *testing.T) {
	for name, f := range map[string]func(at *clock) fault.Fault{
		"no end":         func(*clock) fault.Fault { return late(time.Second) },
		"a far end":      func(at *clock) fault.Fault { return ending(100*time.Hour, at) },
		"a shorter life": func(at *clock) fault.Fault { return ending(time.Minute, at) },
	} {
		dir, at := t.TempDir(), &clock{fault.Moment{Wall: time.Unix(1_900_000_000, 0), Boot: time.Hour}}
		if err := apply(withClock(&enginetest.Engine{}, dir, "boot", at), f(at)); err != nil {
			t.Fatal(err)
		}
		for _, boot := range []string{"boot", "other", ""} {
			next := withClock(&enginetest.Engine{}, dir, boot, at)
			next.maxDuration = 5 * time.Minute
			if err := next.Restore(); err != nil {
				t.Fatal(err)
			}
			left, has := next.Desired().Faults[0].Left(at.Moment)
			if !has || left > 5*time.Minute || name == "a shorter life" && left != time.Minute {
				t.Errorf("%s, boot %q: left %s, %t", name, boot, left, has)
			}
		}
	}
}

// Suspend counts: the time since boot goes on, and the timer does not.
func TestTheClocksAreLookedAtOften(t *testing.T) {
	at := &clock{fault.Moment{Wall: time.Unix(1_900_000_000, 0), Boot: time.Hour}}
	c := withClock(&enginetest.Engine{}, "", "boot", at)
	if err := apply(c, ending(time.Hour, at)); err != nil {
		t.Fatal(err)
	}
	if wait, err := tick(c); err != nil || wait > clockInterval {
		t.Errorf("the next look is in %s, %v", wait, err)
	}
}
