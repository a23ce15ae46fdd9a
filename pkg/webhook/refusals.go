package webhook

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	expiring "k8s.io/apimachinery/pkg/util/cache"
)

const (
	// asksBefore is how many answers with the agent a pod gets before the API server
	// is asked whether it was made, and asksUnknown how many it gets if the API
	// server does not tell.
	asksBefore, asksUnknown = 2, 9
	// asksMarked is how many answers without the agent change annotations of the pod.
	// The next one leaves it as it is, in case they are what is refused, and so on.
	asksMarked = 3
	// seriesWindow is how long the asks for a pod belong together, counted from the
	// first. After a pod was made without the agent, it is how long the next one of
	// its identity is made without as well. After a pod was found refused, it is how
	// long the other pods of its workload are.
	seriesWindow = 2 * time.Minute
	// unmadeWindow is how long they belong together when the pod is known not to be
	// made. It is more than the longest time between two tries of a workload's
	// controller, 1000 s (client-go's DefaultTypedControllerRateLimiter).
	unmadeWindow = 20 * time.Minute
	// markedWindow is how long the API server may ask again in an admission that was
	// answered with a mark: as long as it works on a request (its flag
	// --request-timeout).
	markedWindow = time.Minute
	// leftWindow is the same for an answer that leaves the pod as it is. That has no
	// mark, so a new admission of the pod can't be told from the same. It is less than
	// a controller waits after so many refusals, 1.28 s.
	leftWindow = time.Second
	// maxSeries bounds the memory, at a few hundred bytes each, and the number of
	// workloads as well. The one that was asked for the longest time ago is forgotten
	// first.
	maxSeries = 10_000
)

// step is how to answer when a pod that is to be injected is asked for.
type step int

const (
	// stepInject: with the agent.
	stepInject step = iota
	// stepLook: it depends on whether the pod was made, which has to be looked up.
	stepLook
	// stepRefuse: without the agent, and with an annotation that says why.
	stepRefuse
	// stepLeave: without any change.
	stepLeave
	// stepRepeat: without any change and not counted, since it is the same admission as
	// one that was answered without the agent.
	stepRepeat
)

// refusals knows how often the same pod was asked for and not made, and so whether it is
// to be made without the agent. It reads nothing: what became of a pod is told by made,
// unmade and the methods that are called after it was looked up. It is safe for
// concurrent use.
//
//	asked for twice and not made with the agent     ─► without
//	not made without either: something else refuses ─► with and without in turn
//	made without                                    ─► without for a while
//
// What refuses one pod refuses the others of its workload. A StatefulSet that makes all
// pods at once has one back-off for all of them, which doubles with each refusal. So
// only the first pod is counted, and the others are made without the agent when they are
// first asked for.
//
// When another webhook changes the pod, the API server asks again in the same admission
// (reinvocationPolicy), with another UID. That is not a new ask: it is answered like the
// first, and not counted.
//
// Each replica of the injector counts for itself.
type refusals struct {
	mu     sync.Mutex
	series *expiring.LRUExpireCache // of *series by identity
	// workloads are those of which a pod was found refused, by identity.workload. The
	// values mean nothing.
	workloads *expiring.LRUExpireCache
	// marked are the admissions that were answered without the agent and with a mark,
	// by types.UID, and left the pods that were left as they are, by identity.unpatched.
	// The values mean nothing.
	marked, left *expiring.LRUExpireCache
}

// series are the asks for one pod since it was last known to be there with the agent.
type series struct {
	state seriesState
	// admissions are those whose outcome is not known, the last asksUnknown of them. All
	// were answered with the agent, or all without.
	admissions []types.UID
	// refused counts the answers without the agent.
	refused int
}

type seriesState int

const (
	// answeredWith: the last answer was with the agent.
	answeredWith seriesState = iota
	// answeredWithout: the last answer was without.
	answeredWithout
	// madeWithout: the pod was made without.
	madeWithout
)

func newRefusals() *refusals {
	return &refusals{
		series: expiring.NewLRUExpireCache(maxSeries), workloads: expiring.NewLRUExpireCache(maxSeries),
		marked: expiring.NewLRUExpireCache(maxSeries), left: expiring.NewLRUExpireCache(maxSeries),
	}
}

// next returns how to answer the next ask for a pod, and for stepLook the admissions that
// it may have been made of. mark is the admission that the pod has an annotation of, or
// "".
func (r *refusals) next(id identity, mark types.UID) (step, []types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.find(id)
	switch untried := s == nil || s.refused == 0; {
	case r.answeredBefore(id, mark):
		return stepRepeat, nil
	case untried && r.refusedWorkload(id):
		return stepRefuse, nil
	case untried && (s == nil || len(s.admissions) < asksBefore):
		return stepInject, nil
	case s.state == madeWithout:
		return stepRefuse, nil
	default:
		return stepLook, slices.Clone(s.admissions)
	}
}

// nextUnmade returns how to answer the next ask for a pod that is known not to be there:
// the other way than before.
func (r *refusals) nextUnmade(id identity) step {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.find(id)
	switch {
	case s == nil:
		return stepInject
	case s.state == answeredWithout:
		// It is not made without the agent either, so the agent may not be the cause.
		r.workloads.Remove(id.workload())
		return stepInject
	default:
		return s.without()
	}
}

// nextUnknown returns how to answer the next ask for a pod if it can't be known whether it
// is there: as before, but with the agent not for ever.
func (r *refusals) nextUnknown(id identity) step {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.find(id); s != nil && (s.state != answeredWith || len(s.admissions) >= asksUnknown) {
		return s.without()
	}
	return stepInject
}

// without returns how to answer without the agent.
func (s *series) without() step {
	if s.refused%(asksMarked+1) == asksMarked {
		return stepLeave
	}
	return stepRefuse
}

// injected notes an answer with the agent.
func (r *refusals) injected(id identity, admission types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.find(id)
	if s == nil {
		s = &series{}
		r.series.Add(id, s, seriesWindow)
	}
	if s.state != answeredWith {
		s.state, s.admissions = answeredWith, nil
	}
	s.add(admission)
}

// refused notes an answer without the agent. If it follows one with the agent, the other
// pods of the workload go without for seriesWindow.
func (r *refusals) refused(id identity, admission types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marked.Add(admission, nil, markedWindow)
	s := r.find(id)
	switch {
	case s == nil:
		s = &series{}
	case s.state == madeWithout:
		return
	case s.state == answeredWith:
		r.workloads.Add(id.workload(), nil, seriesWindow)
	}
	if s.state != answeredWithout {
		s.state, s.admissions = answeredWithout, nil
	}
	s.add(admission)
	s.refused++
	r.series.Add(id, s, unmadeWindow)
}

// leave notes that the answer without the agent, which refused notes too, has no mark.
func (r *refusals) leave(id identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left.Add(id.unpatched(), nil, leftWindow)
}

// add notes an admission.
func (s *series) add(admission types.UID) {
	s.admissions = append(s.admissions, admission)
	if extra := len(s.admissions) - asksUnknown; extra > 0 {
		s.admissions = slices.Delete(s.admissions, 0, extra)
	}
}

// made notes that the pod is there, with the agent or without. If it was refused, the next
// one of its identity goes without the agent for seriesWindow.
func (r *refusals) made(id identity, agent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch s := r.find(id); {
	case s == nil:
	case s.refused > 0 && !agent:
		s.state, s.admissions, s.refused = madeWithout, nil, 1
		r.series.Add(id, s, seriesWindow)
	default:
		r.series.Remove(id)
		if s.refused > 0 {
			r.workloads.Remove(id.workload())
		}
	}
}

// unmade notes that the pod was not made of an answer, although there was time.
func (r *refusals) unmade(id identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.find(id); s != nil && s.state != madeWithout {
		r.series.Add(id, s, unmadeWindow)
	}
}

// answeredBefore reports whether the pod is asked for in an admission that was answered
// without the agent before.
func (r *refusals) answeredBefore(id identity, mark types.UID) bool {
	_, left := r.left.Get(id.unpatched())
	_, marked := r.marked.Get(mark)
	return left || marked && mark != ""
}

// refusedWorkload reports whether a pod of the same workload was found refused.
func (r *refusals) refusedWorkload(id identity) bool {
	_, found := r.workloads.Get(id.workload())
	return found
}

// find returns the series of a pod, or nil if it has none.
func (r *refusals) find(id identity) *series {
	s, _ := r.series.Get(id)
	found, _ := s.(*series)
	return found
}
