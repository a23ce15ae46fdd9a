package control

import (
	"log/slog"
	"sync"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Control keeps the desired set of faults. Its methods can be called
// concurrently.
type Control struct {
	engine Engine
	store  store
	boot   string              // bootID
	now    func() fault.Moment // reads the clocks
	log    *slog.Logger

	mu      sync.Mutex
	desired Set
	// known is set once the desired set was stored, adopted or asked for.
	known bool
	// loading gets what is being read from the state file; nil if nothing is.
	loading chan loaded
	saver   saver
	saves   int   // how many writes were asked of the saver
	stored  Set   // what the state file has, as far as this process wrote it
	unsaved error // why the file has not the desired set; nil if it has
	// warning is what an operator should know of the start; empty if nothing.
	warning string
	// rescheduled has room for one signal to Run that the deadlines changed.
	rescheduled chan struct{}
}

// New returns a control without faults; Restore gives it those of an earlier
// agent. The state is kept in a directory, or nowhere if its name is empty.
func New(e Engine, stateDir string, log *slog.Logger) *Control {
	return &Control{
		engine: e, store: store{dir: stateDir}, boot: bootID(), now: now, log: log,
		desired: newSet(nil), rescheduled: make(chan struct{}, 1),
	}
}

// Now reads the clocks by which faults end.
func (c *Control) Now() fault.Moment { return c.now() }

// Desired returns the desired set.
func (c *Control) Desired() Set {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.desired
}

// Snapshot is the desired set with what the kernel has of it at one moment.
type Snapshot struct {
	Desired Set
	Found   fault.State
	// Limits says what the desired faults can't do in this pod.
	Limits []string
	// Warning is what an operator should know of the agent's start; empty if
	// nothing.
	Warning string
	// Unsaved says what the state file does not have; nil if it has the desired
	// set.
	Unsaved *Unsaved
}

// Read returns the desired set and reads what the kernel has of it now. With an
// error, only Found is missing from the snapshot.
func (c *Control) Read() (Snapshot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, err := c.engine.State(c.desired.Faults)
	return Snapshot{
		Desired: c.desired,
		Found:   found,
		Limits:  c.engine.Warnings(c.desired.Faults),
		Warning: c.warning,
		Unsaved: c.whatIsUnsaved(),
	}, err
}
