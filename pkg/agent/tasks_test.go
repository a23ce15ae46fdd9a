package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A task is tried until it works, ever more rarely, and each cause is logged once.
func TestATaskIsTriedUntilItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		tasks := newTasks(slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		var tries []time.Time
		tasks.keep(ctx, "listen", longestWait, func(ctx context.Context, works func()) error {
			tries = append(tries, time.Now())
			switch n := len(tries); {
			case n <= 8:
				return errors.New("the port is taken")
			case n == 9:
				return errors.New("no memory")
			}
			if now := tasks.failures(); len(now) != 1 || !strings.Contains(now[0], "can't listen: no memory") {
				t.Errorf("while it fails: %q", now)
			}
			works()
			works()
			if now := tasks.failures(); len(now) != 0 {
				t.Errorf("while it works: %q", now)
			}
			cancel()
			return ctx.Err()
		})
		want := firstWait
		for i := 1; i < len(tries); i++ {
			if waited := tries[i].Sub(tries[i-1]); waited != want {
				t.Errorf("wait %d is %s, want %s", i, waited, want)
			}
			want = min(2*want, longestWait)
		}
		text := log.String()
		for part, count := range map[string]int{"\n": 3, "the port is taken": 1, "no memory": 1, `msg="task works again" task=listen`: 1} {
			if strings.Count(text, part) != count {
				t.Errorf("the log has %q not %d times:\n%s", part, count, text)
			}
		}
	})
}

// A task that fails soon after each start is not tried at full speed. One that worked
// for long is tried again at once.
func TestATaskThatFailsAgainAndAgain(t *testing.T) {
	for name, c := range map[string]struct{ lasts, want time.Duration }{
		"soon": {time.Second, longestWait},
		"late": {time.Hour, firstWait},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var ended time.Time
				var waited time.Duration
				tries := 0
				newTasks(slog.New(slog.DiscardHandler)).keep(ctx, "run", longestWait, func(_ context.Context, works func()) error {
					if tries++; tries > 10 {
						waited = time.Since(ended)
						cancel()
						return nil
					}
					works()
					time.Sleep(c.lasts)
					ended = time.Now()
					return errors.New("it broke")
				})
				if waited != c.want {
					t.Errorf("after the tenth failure it waits %s, want %s", waited, c.want)
				}
			})
		})
	}
}

// The end of the agent is no failure.
func TestATaskEndsWithItsContext(t *testing.T) {
	var log bytes.Buffer
	tasks := newTasks(slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	tasks.keep(ctx, "follow", time.Hour, func(context.Context, func()) error {
		cancel()
		return ctx.Err()
	})
	if log.Len() > 0 || len(tasks.failures()) > 0 {
		t.Errorf("log %q, failures %q", &log, tasks.failures())
	}
}
