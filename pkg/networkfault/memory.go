package networkfault

import (
	"cmp"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// memory is what a Reconciler knows of objects before its cache does. All of it can
// be lost: then the cache is believed.
type memory struct {
	mu       sync.Mutex
	clusters map[types.NamespacedName]*clusterMemory
}

func newMemory() *memory { return &memory{clusters: map[types.NamespacedName]*clusterMemory{}} }

// of returns the memory of a TidbCluster, which one call of Reconcile uses at a time. It
// forgets objects that are no more, and returns those of them that ran, by name.
func (m *memory) of(cluster types.NamespacedName, objects []client.Object) (*clusterMemory, []*corev1.ObjectReference) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.clusters[cluster]
	kept := &clusterMemory{objects: make(map[types.UID]*objectMemory, len(objects))}
	for _, o := range objects {
		known := &objectMemory{}
		if old != nil && old.objects[o.GetUID()] != nil {
			known = old.objects[o.GetUID()]
		}
		kept.objects[o.GetUID()] = known
	}
	m.clusters[cluster] = kept
	var gone []*corev1.ObjectReference
	if old != nil {
		for uid, known := range old.objects {
			if kept.objects[uid] == nil && known.running != nil {
				gone = append(gone, known.running)
			}
		}
	}
	slices.SortFunc(gone, func(a, b *corev1.ObjectReference) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return kept, gone
}

func (m *memory) forget(cluster types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.clusters, cluster)
}

// clusterMemory is what is known of the objects of a TidbCluster, by UID.
type clusterMemory struct{ objects map[types.UID]*objectMemory }

// objectMemory is what is known of an object.
type objectMemory struct {
	// object is newer than what the cache has while that has one of the resource versions
	// in older; nil if nothing newer is known.
	object client.Object
	older  map[string]bool
	// stored has the status that the API server has, if object has another one, which could
	// not be written.
	stored client.Object
	// generation was first seen at since, and has been applied or not.
	generation int64
	since      time.Time
	applied    bool
	// isSurveyed is whether there was a verdict on all that is measured of it, once.
	isSurveyed bool
	// running refers to the object while it is in force; nil else.
	running *corev1.ObjectReference
}

// settled notes whether an object is in force.
func (m *clusterMemory) settled(object client.Object) {
	m.objects[object.GetUID()].running = nil
	if lifeOf(object).Phase == v1alpha1.Running {
		m.objects[object.GetUID()].running = referenceTo(object)
	}
}

// latest returns the newest version of an object that the cache has returned.
func (m *clusterMemory) latest(cached client.Object) client.Object {
	known := m.objects[cached.GetUID()]
	if known.object != nil && known.older[cached.GetResourceVersion()] {
		return known.object
	}
	known.object, known.older, known.stored = nil, nil, nil
	return cached
}

// stored returns an object with the status that the API server has.
func (m *clusterMemory) stored(object client.Object) client.Object {
	if stored := m.objects[object.GetUID()].stored; stored != nil {
		return stored
	}
	return object
}

// wrote notes what was written of an object, before the cache has it.
func (m *clusterMemory) wrote(before, after client.Object) {
	known := m.objects[before.GetUID()]
	if known.older == nil {
		known.older = map[string]bool{}
	}
	known.older[before.GetResourceVersion()] = true
	known.object, known.stored = after, nil
}

// keep notes what could not be written of an object.
func (m *clusterMemory) keep(before, after client.Object) {
	stored := m.stored(before)
	m.wrote(before, after)
	m.objects[before.GetUID()].stored = stored
}

// surveyed notes what was found of an object, and reports whether there has been a verdict on
// all of it since this process knows it.
func (m *clusterMemory) surveyed(object client.Object, found verify.Status) bool {
	known := m.objects[object.GetUID()]
	known.isSurveyed = known.isSurveyed || !found.IsOpen
	return known.isSurveyed
}

// applied returns how long it took from when an object was first seen as it is until it was
// applied. It returns true only once.
func (m *clusterMemory) applied(before, after client.Object, now time.Time) (time.Duration, bool) {
	known, generation := m.objects[before.GetUID()], before.GetGeneration()
	if known.since.IsZero() || known.generation != generation {
		known.generation, known.since = generation, now
		known.applied = lifeOf(before).ObservedGeneration == generation && isApplied(before)
	}
	if known.applied || !isApplied(after) {
		return 0, false
	}
	known.applied = true
	return now.Sub(known.since), true
}
