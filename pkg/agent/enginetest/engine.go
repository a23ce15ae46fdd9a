// Package enginetest has an engine for tests: a kernel in memory.
package enginetest

import (
	"context"
	"slices"
	"sync"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Engine is an engine whose kernel is a list. It fails when a test says so.
type Engine struct {
	mu sync.Mutex
	Kernel
}

// Kernel is the state of an Engine. A test may set it before the engine is used;
// beside a running engine it uses Set and Get.
type Kernel struct {
	// Faults are what the kernel has.
	Faults []fault.Fault
	// Applied counts calls of Apply.
	Applied int
	// ApplyErr, StateErr and AdoptErr are what the methods fail with; nil for not.
	ApplyErr, StateErr, AdoptErr error
	// ForeignErr is what Apply fails with and Reapply does not.
	ForeignErr error
	// Lacking is what Lacks returns.
	Lacking map[fault.Feature]string
	// Scope is what SetScope was called with last.
	Scope fault.Scope
	// Missing are the devices that State reports as such.
	Missing []string
	// Waiting are the faults that State reports as such.
	Waiting []string
	// Forgets is whether the kernel loses what it is given.
	Forgets bool
	// Warned is what Warnings returns.
	Warned []string
	// Counters are those of every fault.
	Counters api.Counters
}

// New returns an engine with a state.
func New(k Kernel) *Engine { return &Engine{Kernel: k} }

// Set changes the engine's state.
func (e *Engine) Set(change func(k *Kernel)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.Kernel)
}

// Get returns the engine's state.
func (e *Engine) Get() Kernel {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := e.Kernel
	k.Faults = slices.Clone(k.Faults)
	return k
}

// Run blocks until ctx ends.
func (e *Engine) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Close does nothing.
func (e *Engine) Close() error { return nil }

// Lacks returns Kernel.Lacking.
func (e *Engine) Lacks() map[fault.Feature]string { return e.Get().Lacking }

// Apply replaces the kernel's faults.
func (e *Engine) Apply(faults []fault.Fault) error {
	if err := e.Get().ForeignErr; err != nil {
		return err
	}
	return e.Reapply(faults)
}

// Reapply is Apply without ForeignErr.
func (e *Engine) Reapply(faults []fault.Fault) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.Applied++
	if e.ApplyErr != nil {
		return e.ApplyErr
	}
	if !e.Forgets {
		e.Faults = slices.Clone(faults)
	}
	return nil
}

// SetScope remembers a scope.
func (e *Engine) SetScope(scope fault.Scope) { e.Set(func(k *Kernel) { k.Scope = scope }) }

// Warnings returns Kernel.Warned.
func (e *Engine) Warnings([]fault.Fault) []string { return e.Get().Warned }

// Adopt returns the kernel's faults.
func (e *Engine) Adopt() ([]fault.Fault, error) {
	k := e.Get()
	return k.Faults, k.AdoptErr
}

// State finds the faults that the kernel has, each on eth0 in the direction
// egress.
func (e *Engine) State(faults []fault.Fault) (fault.State, error) {
	k := e.Get()
	if k.StateErr != nil {
		return fault.State{}, k.StateErr
	}
	state := fault.State{Found: map[string][]fault.Instance{}, Missing: k.Missing, Waiting: k.Waiting}
	for _, f := range faults {
		if slices.ContainsFunc(k.Faults, f.SameEffect) {
			state.Found[f.Name] = []fault.Instance{{Direction: fault.Egress, Device: "eth0", Counters: k.Counters}}
		} else {
			state.Drift = append(state.Drift, "no "+f.Name+" there")
		}
	}
	return state, nil
}
