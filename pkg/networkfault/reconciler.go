package networkfault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/keeper"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Keeper has agents hold what they are to hold.
type Keeper interface {
	// Set says what the agents of a TidbCluster are to hold. It does not wait.
	Set(cluster types.NamespacedName, targets []keeper.Target)
	// States returns what is known of the agents of a TidbCluster, by the UID of their pod.
	States(cluster types.NamespacedName) map[types.UID]decide.AgentState
}

// Resolver finds the TidbCluster of a pod.
type Resolver interface {
	Resolve(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, error)
}

// Options are what a Reconciler works with.
type Options struct {
	// Reader reads the kinds of Kinds, and TidbClusters, from a cache with Trim.
	Reader client.Reader
	// Status writes the status of NetworkFaults.
	Status client.SubResourceWriter
	// Resolver finds the TidbCluster of a pod.
	Resolver Resolver
	// Keeper has agents hold what is decided.
	Keeper Keeper
	// Surveyor has agents measure what is decided.
	Surveyor Surveyor
	// Events tells people what happened to NetworkFaults and TidbClusters.
	Events events.EventRecorder
	// Metrics gets tidelay_faults and tidelay_apply_duration_seconds.
	Metrics prometheus.Registerer
	Log     logr.Logger
	// Now is the time; time.Now if it is nil.
	Now func() time.Time
}

// Reconciler carries out the NetworkFaults of one TidbCluster at a time. Its requests
// name TidbClusters, which may not exist.
type Reconciler struct {
	options Options
	metrics *metrics
	memory  *memory
}

// New returns a Reconciler. It fails if its metrics are registered already.
func New(o Options) (*Reconciler, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	return &Reconciler{options: o, metrics: m, memory: newMemory()}, nil
}

// Reconcile brings the agents of a TidbCluster to what its NetworkFaults ask for, and
// says in their status what came of it. It asks to be called again when the next fault
// ends.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	key := request.NamespacedName
	states := r.options.Keeper.States(key)
	seen, err := r.observe(ctx, key, states)
	if err != nil {
		return ctrl.Result{}, err
	}
	remembered, gone := r.memory.of(key, seen.faults)
	for i, fault := range seen.faults {
		seen.faults[i] = remembered.latest(fault)
	}
	w := work{Reconciler: r, key: key, observation: seen, memory: remembered, hold: map[string]bool{}, now: r.options.Now()}
	decision := w.start(ctx, decide.Input{
		Cluster: seen.cluster, Pods: seen.podsToDecide(states), Faults: seen.faults, Hold: w.hold, Now: w.now,
	})
	r.options.Keeper.Set(key, seen.targets(decision.Faults))
	w.survey(decision, states)
	w.settle(ctx, decision)
	w.tellGone(gone)
	r.metrics.count(key, decision.Statuses)
	if len(seen.faults) == 0 {
		r.memory.forget(key)
	}
	if len(w.problems) > 0 {
		return ctrl.Result{}, errors.Join(w.problems...)
	}
	return w.next(decision.Next), nil
}

// staleWait is how long to wait for the cache to hear of what somebody else has changed.
const staleWait = time.Second

// writeTime is how long a write may take. The others, and what is to end, do not wait for
// it any longer.
const writeTime = 2 * time.Second

// work is one call of Reconcile.
type work struct {
	*Reconciler
	observation
	key    types.NamespacedName
	memory *clusterMemory
	now    time.Time
	// hold are the faults whose start could not be written.
	hold map[string]bool
	// stale is whether a fault has changed since the cache heard of it.
	stale    bool
	problems []error
}

// start decides, and writes the status of the faults that start by that. A fault whose
// start can't be written does not start, and all is decided again without it.
func (w *work) start(ctx context.Context, in decide.Input) decide.Decision {
	for {
		decision, again := decide.Decide(in), false
		for i, fault := range w.faults {
			status, ok := decision.Statuses[fault.Name]
			if !ok || fault.Status.StartedAt != nil || status.StartedAt == nil {
				continue
			}
			if !w.write(ctx, i, status) {
				w.hold[fault.Name], again = true, true
			}
		}
		if !again {
			return decision
		}
	}
}

// settle writes the statuses that have changed. What could not be written is remembered,
// so that the next decision is not another one.
func (w *work) settle(ctx context.Context, decision decide.Decision) {
	for i, fault := range w.faults {
		status, ok := decision.Statuses[fault.Name]
		if !ok || w.hold[fault.Name] {
			continue
		}
		w.memory.settled(fault, &status)
		if after, ok := w.memory.applied(fault, &status, w.now); ok {
			w.metrics.applied(after)
		}
		if !isSame(w.memory.statusOf(fault), &status) && !w.write(ctx, i, status) {
			w.memory.keep(fault, status)
		}
	}
}

// write writes the status of a fault, tells people what it says, and notes what went
// wrong. It reports whether it is written.
func (w *work) write(ctx context.Context, i int, status v1alpha1.NetworkFaultStatus) bool {
	fault := w.faults[i]
	before, object := w.memory.statusOf(fault), fault.DeepCopy()
	object.Status = status
	limited, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	switch err := w.options.Status.Update(limited, object); {
	case apierrors.IsConflict(err) || apierrors.IsNotFound(err):
		w.stale = true
		return false
	case err != nil:
		w.problems = append(w.problems, fmt.Errorf("write status of NetworkFault %s: %w", fault.Name, err))
		return false
	}
	w.tell(before, object)
	w.memory.wrote(fault, object)
	w.faults[i] = object
	return true
}

// next returns when to reconcile again, if nothing changes before.
func (w *work) next(end time.Time) ctrl.Result {
	var wait time.Duration
	if !end.IsZero() {
		wait = max(end.Sub(w.options.Now()), time.Millisecond)
	}
	if w.stale && (wait == 0 || wait > staleWait) {
		wait = staleWait
	}
	return ctrl.Result{RequeueAfter: wait}
}
