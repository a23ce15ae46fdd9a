package keeper

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// outcome names what came of a request. It is the label "result" of
// tidelay_pushes_total.
type outcome string

const (
	ok           outcome = "ok"
	unreachable  outcome = "unreachable"  // there was no connection
	timeout      outcome = "timeout"      // no answer in time; the agent may have done it or not
	refused      outcome = "refused"      // the agent does not take these faults: 400, 413, 422
	conflict     outcome = "conflict"     // something else is in the way at the agent: 409
	otherPod     outcome = "other_pod"    // another pod has the address: 421
	unauthorized outcome = "unauthorized" // no token, the wrong one, or a read-only agent: 401, 403
	busy         outcome = "busy"         // the agent asks to come later: 429, 503
	noEngine     outcome = "no_engine"    // the agent can set no faults in its pod: 501
	otherFaults  outcome = "other_faults" // the agent answered with other faults than it was asked for
	failed       outcome = "error"        // anything else
)

// outcomes returns all of them.
func outcomes() []outcome {
	return []outcome{ok, unreachable, timeout, refused, conflict, otherPod, unauthorized, busy, noEngine, otherFaults, failed}
}

// isSilent reports whether the agent did not answer.
func (o outcome) isSilent() bool { return o == unreachable || o == timeout }

// isVerdict reports whether the agent has said what it makes of the faults, which is
// told at once.
func (o outcome) isVerdict() bool {
	return slices.Contains([]outcome{refused, conflict, unauthorized, noEngine, otherFaults}, o)
}

// isLasting reports whether the same request will come to the same until somebody
// changes something else.
func (o outcome) isLasting() bool {
	return slices.Contains([]outcome{refused, conflict, otherPod, unauthorized, noEngine}, o)
}

// isRefusal reports whether the agent does not take the faults for what they are.
func (o outcome) isRefusal() bool { return o == refused || o == conflict || o == noEngine }

// outcomeOf returns the outcome of an answer other than 200.
func outcomeOf(status int) outcome {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return refused
	case http.StatusConflict:
		return conflict
	case http.StatusMisdirectedRequest:
		return otherPod
	case http.StatusUnauthorized, http.StatusForbidden:
		return unauthorized
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return busy
	case http.StatusNotImplemented:
		return noEngine
	default:
		return failed
	}
}

// result is what came of a request.
type result struct {
	outcome outcome
	// words say in a sentence why the agent does not hold its faults; empty if it does.
	// They are the same each time for the same cause.
	words string
	// confirmed are the faults that the agent holds by its answer. If isUnchanged is set,
	// it holds what it held before.
	confirmed   []held
	isUnchanged bool
	// warnings are what the agent warns of about the faults that it holds.
	warnings []decide.Warning
	// refused are the faults that it refused for what they are.
	refused []*decide.Fault
	// retryAfter is how long the agent asks to wait; 0 if it does not say.
	retryAfter time.Duration
}

// judge says what came of the request, which was given up after a time limit.
func (r *request) judge(answer api.Changes, err error, limit time.Duration) result {
	if err == nil {
		return r.judgeAnswer(answer)
	}
	if refusal, is := errors.AsType[*client.Error](err); is {
		return r.judgeRefusal(refusal)
	}
	if errors.Is(err, errNotSent) {
		return result{outcome: failed, words: err.Error(), isUnchanged: true}
	}
	op, isOp := errors.AsType[*net.OpError](err)
	switch {
	case isOp && op.Op == "dial":
		return result{outcome: unreachable, words: client.Cause(err), isUnchanged: true}
	case client.IsTimeout(err):
		return result{outcome: timeout, words: fmt.Sprintf("timeout after %s", limit)}
	default:
		return result{outcome: failed, words: client.Cause(err)}
	}
}

// judgeRefusal says what came of the request if the answer's status is not 200. What an
// agent refuses it has not changed. After a failure of its own that is not known.
func (r *request) judgeRefusal(e *client.Error) result {
	if e.Type == "" { // no problem document, so it is not the agent's
		o := failed
		if outcomeOf(e.Status) == busy {
			o = busy
		}
		words := fmt.Sprintf("something that is no agent answered %d %s", e.Status, http.StatusText(e.Status))
		return result{outcome: o, words: words, retryAfter: e.RetryAfter}
	}
	res := result{outcome: outcomeOf(e.Status), words: r.words(e.Detail), retryAfter: e.RetryAfter}
	if res.outcome == noEngine && len(r.asked) == 0 {
		return result{outcome: ok} // it can hold nothing, and that is what it is to hold
	}
	if res.outcome.isRefusal() {
		res.refused = r.blamed(e)
	}
	res.isUnchanged = e.Status < http.StatusInternalServerError && res.outcome != otherPod
	return res
}

// blamed returns the faults that the agent refused: those whose fields it names, or
// those that it names in its words, or else all.
func (r *request) blamed(e *client.Error) []*decide.Fault {
	byField := func(i int) bool {
		prefix := fmt.Sprintf("faults[%d]", i)
		return slices.ContainsFunc(e.Errors, func(f api.FieldError) bool { return f.Field == prefix || strings.HasPrefix(f.Field, prefix+".") })
	}
	byName := func(i int) bool { return strings.Contains(e.Detail, strconv.Quote(r.faults[i].Name)) }
	for _, isNamed := range []func(i int) bool{byField, byName, func(int) bool { return true }} {
		var named []*decide.Fault
		for i := range r.asked {
			if isNamed(i) {
				named = append(named, r.asked[i].fault)
			}
		}
		if len(named) > 0 {
			return named
		}
	}
	return nil
}
