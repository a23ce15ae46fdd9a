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
	// Status writes the status of NetworkFaults and NetworkTopologies.
	Status client.SubResourceWriter
	// Resolver finds the TidbCluster of a pod.
	Resolver Resolver
	// Keeper has agents hold what is decided.
	Keeper Keeper
	// Events tells people what happened to NetworkFaults, NetworkTopologies and TidbClusters.
	Events events.EventRecorder
	// Metrics gets tidelay_faults, tidelay_topologies and tidelay_apply_duration_seconds.
	Metrics prometheus.Registerer
	Log     logr.Logger
	// Now is the time; time.Now if it is nil.
	Now func() time.Time
}

// Reconciler carries out the NetworkFaults and NetworkTopologies of one TidbCluster at a time. Its requests
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

// Reconcile brings the agents of a TidbCluster to what its NetworkFaults and
// NetworkTopologies ask for, and says in their status what came of it. It asks to be called
// again when the next of them ends.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	key := request.NamespacedName
	states := r.options.Keeper.States(key)
	seen, err := r.observe(ctx, key, states)
	if err != nil {
		return ctrl.Result{}, err
	}
	remembered, gone := r.memory.of(key, seen.objects)
	for i, object := range seen.objects {
		seen.objects[i] = remembered.latest(object)
	}
	w := work{Reconciler: r, key: key, observation: seen, memory: remembered, hold: map[string]bool{}, now: r.options.Now()}
	decision := w.start(ctx, decide.Input{Cluster: seen.cluster, Pods: seen.podsToDecide(states), Hold: w.hold, Now: w.now})
	r.options.Keeper.Set(key, seen.targets(decision.Faults))
	w.settle(ctx, decision)
	w.tellGone(gone)
	r.metrics.count(key, decision)
	if len(seen.objects) == 0 {
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
	// hold are the keys of the objects whose start could not be written.
	hold map[string]bool
	// stale is whether an object has changed since the cache heard of it.
	stale    bool
	problems []error
}

// start decides, and writes the status of the objects that start by that. One whose
// start can't be written does not start, and all is decided again without it.
func (w *work) start(ctx context.Context, in decide.Input) decide.Decision {
	for {
		in.Faults, in.Topologies = w.objectsToDecide()
		decision, again := decide.Decide(in), false
		for i, object := range w.objects {
			after := decided(object, decision)
			if after == nil || lifeOf(object).StartedAt != nil || lifeOf(after).StartedAt == nil {
				continue
			}
			if !w.write(ctx, i, after) {
				w.hold[keyOf(object)], again = true, true
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
	for i, object := range w.objects {
		after := decided(object, decision)
		if after == nil || w.hold[keyOf(object)] {
			continue
		}
		w.memory.settled(after)
		if took, ok := w.memory.applied(object, after, w.now); ok && kindOf(object) == "NetworkFault" {
			w.metrics.applied(took)
		}
		if !hasSameStatus(w.memory.stored(object), after) && !w.write(ctx, i, after) {
			w.memory.keep(object, after)
		}
	}
}

// write writes the new status of an object, tells people what it says, and notes what went
// wrong. It reports whether it is written.
func (w *work) write(ctx context.Context, i int, after client.Object) bool {
	before := w.objects[i]
	written := after.DeepCopyObject().(client.Object)
	limited, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	switch err := w.options.Status.Update(limited, written); {
	case apierrors.IsConflict(err) || apierrors.IsNotFound(err):
		w.stale = true
		return false
	case err != nil:
		w.problems = append(w.problems, fmt.Errorf("write status of %s %s: %w", kindOf(before), before.GetName(), err))
		return false
	}
	w.tell(lifeOf(w.memory.stored(before)), written)
	w.memory.wrote(before, written)
	w.objects[i] = written
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
