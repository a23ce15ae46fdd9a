package webhook

import (
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
	// asksMarked is how many answers without the agent change annotations of the pod
	// before the annotations may be the cause. After those, every other answer leaves the
	// pod as it is.
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
	// stepLook: with the agent if the pod was made, which has to be looked up.
	stepLook
	// stepRefuse: without the agent, and with an annotation that says why.
	stepRefuse
	// stepLeave: without any change.
	stepLeave
)

// refusals counts how often the same pod was asked for and answered with the agent,
// and knows which pods are to be made without. It reads nothing: what became of a pod
// is told by made and unmade. It is safe for concurrent use.
//
// What refuses one pod refuses the others of its workload. A StatefulSet that makes all
// pods at once has one back-off for all of them, which doubles with each refusal. So
// only the first pod is counted, and the others are made without the agent when they are
// first asked for.
//
// Each replica of the injector counts for itself.
type refusals struct {
	mu     sync.Mutex
	series *expiring.LRUExpireCache // of *series by identity
	// workloads are those of which a pod was found refused, by identity.workload. The
	// values mean nothing.
	workloads *expiring.LRUExpireCache
}

// series are the asks for one pod since it was last known to be there.
type series struct {
	// admissions are those that were answered with the agent.
	admissions []types.UID
	// refused counts the answers without the agent. After the first there is none
	// with it.
	refused int
}

func newRefusals() *refusals {
	return &refusals{series: expiring.NewLRUExpireCache(maxSeries), workloads: expiring.NewLRUExpireCache(maxSeries)}
}

// next returns how to answer the next ask for a pod, and the admissions that were
// answered with the agent since it was last known to be there.
func (r *refusals) next(id identity) (step, []types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.find(id)
	switch {
	case s != nil && s.refused >= asksMarked && (s.refused-asksMarked)%2 == 0:
		return stepLeave, nil
	case s != nil && s.refused > 0, r.refusedWorkload(id):
		return stepRefuse, nil
	case s == nil || len(s.admissions) < asksBefore:
		return stepInject, nil
	default:
		return stepLook, append([]types.UID(nil), s.admissions...)
	}
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
	s.admissions = append(s.admissions, admission)
}

// refused notes an answer without the agent. The following ones are the same until
// the pod is made, and for seriesWindow after that. The other pods of its workload go
// without too, for seriesWindow from the first such answer, unless this pod is not made
// without the agent either: then something else than the agent may be the cause.
func (r *refusals) refused(id identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.find(id)
	if s == nil {
		s = &series{}
	}
	switch {
	case s.refused > 0:
		r.workloads.Remove(id.workload())
	case !r.refusedWorkload(id):
		r.workloads.Add(id.workload(), nil, seriesWindow)
	}
	s.admissions = nil
	s.refused++
	r.series.Add(id, s, unmadeWindow)
}

// made notes that the pod is there, with the agent or without.
func (r *refusals) made(id identity, agent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch s := r.find(id); {
	case s == nil:
	case s.refused > 0 && !agent:
		s.refused = 1
		r.series.Add(id, s, seriesWindow)
	default:
		r.series.Remove(id)
		if s.refused > 0 {
			r.workloads.Remove(id.workload())
		}
	}
}

// unmade notes that the pod was not made of an answer with the agent, although there
// was time.
func (r *refusals) unmade(id identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.find(id); s != nil && s.refused == 0 {
		r.series.Add(id, s, unmadeWindow)
	}
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
