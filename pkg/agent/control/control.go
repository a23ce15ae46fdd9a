package control

import (
	"log/slog"
	"sync"
	"time"

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
	// maxDuration is how long a fault may last from the start of the agent on; 0
	// for no cap.
	maxDuration time.Duration

	mu      sync.Mutex
	desired Set
	// known is set once the desired set was read, adopted, or ended as a whole.
	known bool
	// unknown is why it is not known; nil if it is, and as long as no try failed.
	unknown error
	// unreadable is set when the stored set could not be read, and unreadableSince is
	// the time since boot of the first try.
	unreadable      bool
	unreadableSince time.Duration
	// loading gets what is being read from the state file; nil if nothing is.
	loading chan loaded
	saver   saver
	saves   int   // how many writes were asked of the saver
	stored  Set   // what the state file has, as far as this process wrote it
	unsaved error // why the file has not the desired set; nil if it has
	overdue error // why faults whose time is over have not ended; nil if none
	// unended is set when faults ended while no engine ran: the kernel may have them.
	unended bool
	// warning is what an operator should know of the start; empty if nothing.
	warning string
	// rescheduled has room for one signal to Run that the deadlines changed.
	rescheduled chan struct{}
}

// New returns a control without faults; Restore gives it those of an earlier
// agent, none of which then lasts longer than maxDuration, 0 for no cap. The state is
// kept in a directory, or nowhere if its name is empty.
func New(e Engine, stateDir string, maxDuration time.Duration, log *slog.Logger) *Control {
	return &Control{
		engine: e, store: store{dir: stateDir}, boot: bootID(), now: now, log: log, maxDuration: maxDuration,
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

// Unknown returns why the desired set is not known; nil if it is. The error wraps
// ErrUnknown.
func (c *Control) Unknown() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unknown
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
	// Unknown is why the desired set is not known; nil if it is.
	Unknown error
	// Overdue is why faults whose time is over have not ended; nil if none.
	Overdue error
	// Unended is whether the kernel may have faults that ended while no engine ran.
	Unended bool
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
		Unknown: c.unknown,
		Overdue: c.overdue,
		Unended: c.unended,
	}, err
}
