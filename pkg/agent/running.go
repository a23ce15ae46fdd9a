package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
	"github.com/tidelay/tidelay/pkg/fault"
)

// running is the engine that runs now. When one fails, or none works at first, the
// engines are tried again, and the desired faults are applied by the next one.
// Meanwhile noEngine stands for it. It is a control.Engine.
type running struct {
	// open chooses and opens an engine for a scope.
	open  func(fault.Scope) choice
	tasks *tasks
	// tried is closed when the engines were tried once, and what was stored was
	// restored if one works.
	tried   chan struct{}
	tryOnce sync.Once

	mu     sync.Mutex
	choice choice
	scope  fault.Scope
}

// restoreTask is the name of what is tried again while an engine runs.
const restoreTask = "restore the faults"

func newRunning(scope fault.Scope, t *tasks, open func(fault.Scope) choice) *running {
	return &running{open: open, tasks: t, tried: make(chan struct{}), choice: none("not tried yet", nil), scope: scope}
}

// run opens an engine, restores the faults by it, and runs it until it fails or ctx
// ends. It calls works when the engine runs.
func (r *running) run(ctx context.Context, restore func() error, works func()) error {
	chosen := r.open(r.lastScope())
	r.use(chosen)
	if chosen.name == api.EngineNone {
		_ = restore() // what is stored is known then; that it can't be applied is the reason
		r.tryOnce.Do(func() { close(r.tried) })
		return errors.New(chosen.reason)
	}
	r.tasks.log.Info("engine runs", "engine", chosen.name, "reason", chosen.reason)
	works()
	return r.runOpened(ctx, chosen, restore)
}

// runOpened runs an engine, and meanwhile restores the faults: packets that a fault
// holds leave only while the engine runs. What can't be restored is tried again. Once
// the engine has failed, noEngine stands for it. The error is nil if ctx ended.
func (r *running) runOpened(ctx context.Context, chosen choice, restore func() error) error {
	restoring, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer r.tasks.forget(restoreTask) // it is up to the next engine
	defer all.Wait()
	defer stop()
	all.Go(func() {
		r.tasks.keep(restoring, restoreTask, longestWait, func(_ context.Context, works func()) error {
			err := restore()
			if err == nil {
				works()
			}
			r.tryOnce.Do(func() { close(r.tried) })
			return err
		})
	})
	err := chosen.engine.Run(ctx)
	if err == nil && ctx.Err() == nil {
		err = errors.New("it ended by itself")
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("engine %s failed: %w", chosen.name, err)
	if ctx.Err() != nil {
		r.tasks.log.Error("end the engine", "err", err)
		return nil
	}
	r.use(none(err.Error(), chosen.capabilities))
	return err
}

// current returns what runs now.
func (r *running) current() choice {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.choice
}

// lastScope returns the scope that was set last.
func (r *running) lastScope() fault.Scope {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.scope
}

// use makes another choice the one that runs, in the scope that was set last.
func (r *running) use(c choice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.engine.SetScope(r.scope)
	r.choice = c
}

// describe says which engine runs.
func (r *running) describe() httpapi.Engine {
	c := r.current()
	return httpapi.Engine{Name: c.name, Reason: c.reason, Capabilities: c.capabilities}
}

// SetScope is for the engine that runs and for those that follow it.
func (r *running) SetScope(scope fault.Scope) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scope = scope
	r.choice.engine.SetScope(scope)
}

// The other methods are those of the engine that runs.

func (r *running) Lacks() map[fault.Feature]string { return r.current().engine.Lacks() }

func (r *running) Apply(faults []fault.Fault) error { return r.current().engine.Apply(faults) }

func (r *running) Reapply(faults []fault.Fault) error {
	return r.current().engine.Reapply(faults)
}

func (r *running) State(faults []fault.Fault) (fault.State, error) {
	return r.current().engine.State(faults)
}

func (r *running) Warnings(faults []fault.Fault) []string {
	return r.current().engine.Warnings(faults)
}

func (r *running) Adopt() ([]fault.Fault, error) { return r.current().engine.Adopt() }
