package keeper

import (
	"context"
	"reflect"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// patience is how long an agent may give no answer, or none that says why it does not
// hold its faults, before that is told. A pod that is starting has an address before
// its agent listens.
const patience = 5 * time.Second

// notRunning is why an agent that is down does not hold its target. That is told at once:
// who knows it waits for nothing.
const notRunning = "it does not run"

// maxWords is how much of what an agent says is passed on, in bytes.
const maxWords = 800

// agent is what is known of an agent. The Keeper's mutex guards it.
type agent struct {
	cluster, pod types.NamespacedName
	// target is what it is to hold; nil once it is to be forgotten. It is replaced and
	// never changed, so that two are the same if their pointers are.
	target *Target
	// since is when the target got its UID and its address.
	since time.Time
	// flight is the request that is in flight; nil for none.
	flight *request
	// due is when it is to be asked next; zero for not.
	due time.Time
	// asked is when the last request was sent.
	asked time.Time
	// without are the faults of the target that it has just refused, and that the next
	// request leaves out, so that it holds the others meanwhile.
	without []*decide.Fault

	// confirmed is the last target that it confirmed; nil for none.
	confirmed *Target
	// held is what it confirmed last; none if it may have changed that since.
	held []held
	// isKnown is whether that is all that it holds of Owner's.
	isKnown bool
	// warnings are what it warned of about those.
	warnings []decide.Warning
	// isLost is whether it has been silent for so long that what it holds is not known:
	// the process may be gone, and the faults with it or not. That is over when it says
	// what it holds.
	isLost bool
	// failure is why it does not hold its target; nil if it does, or if it has not
	// answered since it has the target.
	failure *result
	// failingSince is when the first request was sent of those that have failed since
	// the last one that did not; zero for none.
	failingSince time.Time
	// silent is whether it did not answer the last request.
	silent bool

	// state is what States says.
	state decide.AgentState
	// complaint is the failure that was logged last; empty once it was over.
	complaint string
}

// held is a fault that an agent has confirmed.
type held struct {
	fault *decide.Fault
	// until is when its life there is over, or somewhat earlier.
	until time.Time
}

// request is one that is in flight.
type request struct {
	target *Target
	sent   time.Time
	faults []api.Fault
	// asked are the faults of the target that faults are made of, in the same order.
	asked []held
	// isRest is whether faults of the target are left out.
	isRest bool
	// isRenewal is whether the agent has confirmed the target before.
	isRenewal bool
	// cancel ends it, and dropped is set if nobody wants to know its answer.
	cancel  context.CancelFunc
	dropped bool
}

// aim gives the agent a target, and reports false for one that is the same as before.
// Of another pod, or at another address, nothing is known.
func (a *agent) aim(t Target, now time.Time) bool {
	if a.target != nil && sameTarget(a.target, &t) {
		return a.start(&t, now)
	}
	if a.target == nil || a.target.UID != t.UID || a.target.Addr != t.Addr {
		a.leave()
		a.since = now
	}
	a.target, a.failure, a.without, a.due = &t, nil, nil, now
	return true
}

// start has the agent asked again if it was started since, or has ended, and reports
// whether it was. If it was not seen to have ended, what it confirmed before is not taken
// back: most agents find their faults again.
func (a *agent) start(t *Target, now time.Time) bool {
	if a.target.Instance == t.Instance && a.target.Down == t.Down {
		return false
	}
	if a.confirmed == a.target {
		a.confirmed = t
	}
	a.target, a.since, a.failingSince, a.failure, a.without, a.due = t, now, time.Time{}, nil, nil, now
	return true
}

// doubt brings its next renewal forward. It does nothing to an agent that is to hold nothing,
// and to one that is asked now, or tried again.
func (a *agent) doubt(now time.Time) {
	if a.target == nil || a.flight != nil || a.confirmed != a.target || a.failure != nil || a.due.IsZero() {
		return
	}
	if soon := latest(now, a.asked.Add(doubtAfter)); soon.Before(a.due) {
		a.due = soon
	}
}

// leave forgets all that is known of the agent, and what it is to hold.
func (a *agent) leave() {
	if a.flight != nil {
		a.flight.dropped = true
		a.flight.cancel()
	}
	*a = agent{cluster: a.cluster, pod: a.pod, flight: a.flight, state: a.state}
}

// begin returns the request that is due, or nil for none.
func (a *agent) begin(now time.Time) *request {
	if a.target == nil || a.flight != nil || a.due.IsZero() || a.due.After(now) {
		return nil
	}
	a.flight, a.asked = newRequest(a.target, a.without, now), now
	a.flight.isRenewal = a.confirmed == a.target && !a.flight.isRest
	return a.flight
}

// end takes the result of the request that is in flight, which is over.
func (a *agent) end(res result, now time.Time) {
	r := a.flight
	a.flight = nil
	if !res.isUnchanged {
		a.held, a.warnings, a.isLost = res.confirmed, res.warnings, false
		a.isKnown = res.outcome == ok
	}
	a.silent = res.outcome.isSilent()
	switch {
	case res.outcome == ok && r.isRest:
	case res.outcome == ok:
		a.failingSince = time.Time{}
	case a.failingSince.IsZero():
		a.failingSince = r.sent
	}
	if a.target != r.target {
		return // it is due since the target has changed
	}
	if a.without != nil && res.outcome.isRefusal() { // of the others too
		res.refused = append(a.without, res.refused...)
	}
	a.without = nil
	if res.outcome != ok {
		a.fail(res, now)
		if n := len(res.refused); n > 0 && n < len(r.asked) {
			a.without, a.due = res.refused, now
		}
		return
	}
	if r.isRest {
		a.due = now.Add(longest) // for another try with all of them
		return
	}
	a.due = time.Time{}
	if len(r.asked) > 0 {
		a.due = now.Add(untilRenewal(a.target.MaxDuration, a.confirmed != a.target))
	}
	a.confirmed, a.failure = a.target, nil
}

// fail notes why the agent does not hold its target. While it is silent, the words stay
// what they were when that was first told, since each try may fail in another way.
func (a *agent) fail(res result, now time.Time) {
	if a.silent && a.failure != nil && a.failure.outcome.isSilent() && a.isTold(now) {
		res.words = a.failure.words
	}
	res.words = shorten(res.words)
	a.failure = &res
	isYoung := now.Sub(a.since) < youth
	a.due = now.Add(untilRetry(res, now.Sub(a.failingSince), isYoung))
}

// isTold reports whether it is time to tell of the failure.
func (a *agent) isTold(now time.Time) bool {
	return a.failure.outcome.isVerdict() || now.Sub(a.failingSince) >= patience
}

// settle brings the agent's state up to date, and returns what that changed.
func (a *agent) settle(now time.Time) change {
	var next decide.AgentState
	if a.failure != nil && a.isTold(now) {
		next.Failed, next.Silent = a.failure.words, a.failure.outcome.isSilent()
		for _, f := range a.failure.refused {
			next.Refused = append(next.Refused, f.Fault)
		}
	}
	if a.target != nil && a.target.Down {
		next = decide.AgentState{Failed: notRunning, Down: true}
	}
	a.isLost = a.isLost || next.Silent || next.Down
	next.Known = a.isKnown && !a.isLost
	for _, h := range a.held {
		if !a.isLost && h.until.After(now) {
			next.Holds = append(next.Holds, h.fault.Fault)
		}
	}
	if len(next.Holds) > 0 {
		next.Warnings = a.warnings
	}
	c := change{holds: !reflect.DeepEqual(a.state.Holds, next.Holds)}
	c.others = !reflect.DeepEqual(a.state, next) && !c.holds
	if c.isSome() {
		a.state = next
	}
	return c
}

// isOutOfStep reports whether the agent is to hold faults, or to be rid of some, and has
// not confirmed that, or not when it was asked last. One that does not answer may go on
// holding what it confirmed last.
func (a *agent) isOutOfStep() bool {
	if a.target == nil || a.confirmed == a.target && a.failure == nil && !a.target.Down {
		return false
	}
	return len(a.target.Faults)+len(a.held) > 0 || a.confirmed != nil && len(a.confirmed.Faults) > 0
}

// change is what of an agent's state has changed.
type change struct {
	// holds is whether it holds other faults, and others whether something else is new.
	holds, others bool
}

func (c change) isSome() bool { return c.holds || c.others }

// next returns when something is to be done about the agent, or when its state changes
// by itself; zero for never.
func (a *agent) next(now time.Time) (next time.Time) {
	var all []time.Time
	if a.flight == nil {
		all = append(all, a.due)
	}
	for _, h := range a.held {
		if h.until.After(now) {
			all = append(all, h.until)
		}
	}
	if a.failure != nil && !a.isTold(now) {
		all = append(all, a.failingSince.Add(patience))
	}
	for _, t := range all {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// sameTarget reports whether two targets are the same for the agent.
func sameTarget(a, b *Target) bool {
	return a.Pod == b.Pod && a.UID == b.UID && a.Addr == b.Addr && a.MaxDuration == b.MaxDuration && a.IsOpen == b.IsOpen &&
		slices.EqualFunc(a.Faults, b.Faults, func(f, g decide.Fault) bool {
			return f.End.Equal(g.End) && reflect.DeepEqual(f.Fault, g.Fault)
		})
}
