package httpapi

import (
	"errors"
	"net/http"

	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/fault"
)

// The reasons name every outcome of a request. They are the label "reason" of
// tidelay_agent_requests_total and the field "reason" of the request log.
const (
	reasonOK           = "ok"
	reasonInvalid      = "invalid"       // a value is not accepted
	reasonUnauthorized = "unauthorized"  // no token or the wrong one
	reasonMisdirected  = "misdirected"   // the request is meant for another pod
	reasonReadOnly     = "read_only"     // a change under --read-only
	reasonNoRoute      = "no_route"      // no such route, or not with this method
	reasonNoFault      = "no_such_fault" // the fault named is not there
	reasonConflict     = "conflict"      // two faults would meet the same packets, or have one name and two owners
	reasonForeign      = "foreign"       // somebody else's state is in the way
	reasonStale        = "stale"         // If-Match names another revision
	reasonTooLarge     = "too_large"     // the body is beyond the limit
	reasonSlow         = "slow"          // the body did not arrive in time
	reasonUnsupported  = "unsupported"   // this kernel or engine can't
	reasonTooMany      = "too_many"      // requests come too fast
	reasonNoEngine     = "no_engine"     // nothing works here
	reasonUnknown      = "unknown"       // what is desired can't be read
	reasonFailed       = "failed"        // the kernel or the disk refused
	reasonPanicked     = "panicked"      // a bug
)

// classify gives an error its reason and its HTTP status.
func classify(err error) (reason string, status int) {
	var invalid fault.Invalid
	var conflict fault.Conflict
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, fault.ErrOtherOwner), errors.As(err, &conflict): // the first comes with an Invalid
		return reasonConflict, http.StatusConflict
	case errors.As(err, &invalid):
		return reasonInvalid, http.StatusBadRequest
	case errors.As(err, &tooLarge):
		return reasonTooLarge, http.StatusRequestEntityTooLarge
	case errors.Is(err, errSlow):
		return reasonSlow, http.StatusRequestTimeout
	case errors.Is(err, errUnauthorized):
		return reasonUnauthorized, http.StatusUnauthorized
	case errors.Is(err, errOtherPod):
		return reasonMisdirected, http.StatusMisdirectedRequest
	case errors.Is(err, errReadOnly):
		return reasonReadOnly, http.StatusForbidden
	case errors.Is(err, errTooMany):
		return reasonTooMany, http.StatusTooManyRequests
	case errors.Is(err, control.ErrNoFault):
		return reasonNoFault, http.StatusNotFound
	case errors.Is(err, control.ErrStale):
		return reasonStale, http.StatusPreconditionFailed
	case errors.Is(err, control.ErrUnknown):
		return reasonUnknown, http.StatusServiceUnavailable
	case errors.Is(err, control.ErrNoEngine):
		return reasonNoEngine, http.StatusNotImplemented
	case errors.Is(err, fault.ErrForeign):
		return reasonForeign, http.StatusConflict
	case errors.Is(err, fault.ErrUnsupported):
		return reasonUnsupported, http.StatusUnprocessableEntity
	default:
		return reasonFailed, http.StatusInternalServerError
	}
}
