package networkfault

import (
	"cmp"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// memory is what a Reconciler knows of NetworkFaults before its cache does. All of it can
// be lost: then the cache is believed.
type memory struct {
	mu       sync.Mutex
	clusters map[types.NamespacedName]*clusterMemory
}

func newMemory() *memory { return &memory{clusters: map[types.NamespacedName]*clusterMemory{}} }

// of returns the memory of a TidbCluster, which one call of Reconcile uses at a time. It
// forgets faults that are no more, and returns those of them that ran, by name.
func (m *memory) of(cluster types.NamespacedName, faults []*v1alpha1.NetworkFault) (*clusterMemory, []*corev1.ObjectReference) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.clusters[cluster]
	kept := &clusterMemory{faults: make(map[types.UID]*faultMemory, len(faults))}
	for _, f := range faults {
		known := &faultMemory{}
		if old != nil && old.faults[f.UID] != nil {
			known = old.faults[f.UID]
		}
		kept.faults[f.UID] = known
	}
	m.clusters[cluster] = kept
	var gone []*corev1.ObjectReference
	if old != nil {
		for uid, known := range old.faults {
			if kept.faults[uid] == nil && known.running != nil {
				gone = append(gone, known.running)
			}
		}
	}
	slices.SortFunc(gone, func(a, b *corev1.ObjectReference) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return kept, gone
}

func (m *memory) forget(cluster types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.clusters, cluster)
}

// clusterMemory is what is known of the faults of a TidbCluster, by UID.
type clusterMemory struct{ faults map[types.UID]*faultMemory }

// faultMemory is what is known of a fault.
type faultMemory struct {
	// object is newer than what the cache has while that has one of the resource versions
	// in older; nil if nothing newer is known.
	object *v1alpha1.NetworkFault
	older  map[string]bool
	// stored is the status that the API server has, if object has another one, which could
	// not be written.
	stored *v1alpha1.NetworkFaultStatus
	// generation was first seen at since, and has been applied or not.
	generation int64
	since      time.Time
	applied    bool
	// running refers to the fault while it is in force; nil else.
	running *corev1.ObjectReference
}

// settled notes whether a fault is in force.
func (m *clusterMemory) settled(fault *v1alpha1.NetworkFault, status *v1alpha1.NetworkFaultStatus) {
	m.faults[fault.UID].running = nil
	if status.Phase == v1alpha1.Running {
		m.faults[fault.UID].running = referenceTo(fault)
	}
}

// latest returns the newest version of a fault that the cache has returned.
func (m *clusterMemory) latest(cached *v1alpha1.NetworkFault) *v1alpha1.NetworkFault {
	known := m.faults[cached.UID]
	if known.object != nil && known.older[cached.ResourceVersion] {
		return known.object
	}
	known.object, known.older, known.stored = nil, nil, nil
	return cached
}

// statusOf returns the status of a fault that the API server has.
func (m *clusterMemory) statusOf(fault *v1alpha1.NetworkFault) *v1alpha1.NetworkFaultStatus {
	if stored := m.faults[fault.UID].stored; stored != nil {
		return stored
	}
	return &fault.Status
}

// wrote notes what was written of a fault, before the cache has it.
func (m *clusterMemory) wrote(before, after *v1alpha1.NetworkFault) {
	known := m.faults[before.UID]
	if known.older == nil {
		known.older = map[string]bool{}
	}
	known.older[before.ResourceVersion] = true
	known.object, known.stored = after, nil
}

// keep notes what could not be written of a fault.
func (m *clusterMemory) keep(fault *v1alpha1.NetworkFault, status v1alpha1.NetworkFaultStatus) {
	stored := *m.statusOf(fault)
	object := fault.DeepCopy()
	object.Status = status
	m.wrote(fault, object)
	m.faults[fault.UID].stored = &stored
}

// applied returns how long it took from when a fault was first seen as it is until it was
// applied. It returns true only once.
func (m *clusterMemory) applied(fault *v1alpha1.NetworkFault, status *v1alpha1.NetworkFaultStatus, now time.Time) (time.Duration, bool) {
	known := m.faults[fault.UID]
	if known.since.IsZero() || known.generation != fault.Generation {
		known.generation, known.since = fault.Generation, now
		known.applied = fault.Status.ObservedGeneration == fault.Generation && isApplied(&fault.Status)
	}
	if known.applied || !isApplied(status) {
		return 0, false
	}
	known.applied = true
	return now.Sub(known.since), true
}

// isApplied reports whether a fault is in force everywhere.
func isApplied(status *v1alpha1.NetworkFaultStatus) bool {
	return status.Phase == v1alpha1.Running && meta.IsStatusConditionTrue(status.Conditions, v1alpha1.Applied)
}

func isSame(a, b *v1alpha1.NetworkFaultStatus) bool { return equality.Semantic.DeepEqual(a, b) }
