package agent

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Waits before something that failed is tried again. Each is twice the one before.
const (
	firstWait   = 500 * time.Millisecond
	longestWait = 10 * time.Second
	// longestEngineWait is longer, since every try makes a scratch link.
	longestEngineWait = time.Minute
	// longestFollowWait is shorter, since meanwhile nothing follows the pod's
	// interfaces.
	longestFollowWait = 2 * time.Second
)

// tasks are what an agent does as long as it lives. A task that fails is tried
// again and never ends the agent: a pod whose agent does not run is not ready, and
// leaves its Services.
type tasks struct {
	log *slog.Logger

	mu     sync.Mutex
	failed map[string]string // why, by the task; only those that fail now
}

func newTasks(log *slog.Logger) *tasks { return &tasks{log: log, failed: make(map[string]string)} }

// keep runs a task again and again until ctx ends, or until the task returns nil.
// The task calls works when it has begun its work. It is logged when a task fails,
// fails for another cause, or works again, and not at each try.
func (t *tasks) keep(ctx context.Context, name string, longest time.Duration, run func(ctx context.Context, works func()) error) {
	wait := firstWait
	for {
		var since time.Time
		err := run(ctx, func() {
			if since.IsZero() {
				since = time.Now()
			}
			t.noteSuccess(name)
		})
		if err == nil || ctx.Err() != nil || errors.Is(err, context.Canceled) {
			return
		}
		t.noteFailure(name, err)
		if !since.IsZero() && time.Since(since) > longest {
			wait = firstWait
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		wait = min(2*wait, longest)
	}
}

func (t *tasks) noteFailure(name string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed[name] != err.Error() {
		t.log.Error("task fails and is tried again", "task", name, "err", err)
	}
	t.failed[name] = err.Error()
}

func (t *tasks) noteSuccess(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, failed := t.failed[name]; failed {
		t.log.Info("task works again", "task", name)
		delete(t.failed, name)
	}
}

// forget drops what is noted of a task, which nobody tries again.
func (t *tasks) forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.failed, name)
}

// failures says which tasks fail now, and why.
func (t *tasks) failures() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(t.failed)) {
		all = append(all, "can't "+name+": "+t.failed[name])
	}
	return all
}
