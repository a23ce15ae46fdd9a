package control

import (
	"errors"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Engine turns faults into kernel state. Its methods are called one at a time.
type Engine interface {
	// Lacks names the features that this engine does not have here, with the
	// reason.
	Lacks() map[fault.Feature]string
	// Apply makes the kernel have exactly these faults, sorted by name, and
	// returns after it was read back. It does not touch what is already as it
	// should be. A failure leaves what was there.
	Apply(faults []fault.Fault) error
	// Reapply is Apply for faults that were accepted before. It leaves out what can't
	// be done now, and State says so.
	Reapply(faults []fault.Fault) error
	// SetScope makes the next Apply or Reapply act on other interfaces.
	SetScope(scope fault.Scope)
	// State reads from the kernel what it has of these faults.
	State(faults []fault.Fault) (fault.State, error)
	// Warnings says what these faults can't do in this pod as it is now, and what
	// that costs. It changes nothing.
	Warnings(faults []fault.Fault) []string
	// Adopt returns the faults that an earlier agent left in the kernel. It is for
	// a start without stored state. The error wraps fault.ErrLeftover when the
	// kernel has something that it alone can't explain.
	Adopt() ([]fault.Fault, error)
}

// ErrNoEngine reports that nothing here can apply a fault. Every method of the
// engine that stands for none wraps it, with the reason.
var ErrNoEngine = errors.New("no engine")
