package networkfault

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// An object is a NetworkFault or a NetworkTopology here. What follows is all that they differ
// in, as far as a Reconciler cares.

// kindOf returns the kind of an object.
func kindOf(object client.Object) string {
	if _, ok := object.(*v1alpha1.NetworkTopology); ok {
		return "NetworkTopology"
	}
	return "NetworkFault"
}

// keyOf returns what decide calls an object where it means either kind.
func keyOf(object client.Object) string {
	if _, ok := object.(*v1alpha1.NetworkTopology); ok {
		return compile.TopologyKey(object.GetName())
	}
	return object.GetName()
}

// emptyOf returns an empty object of the kind of a key, and its name.
func emptyOf(key string) (object client.Object, name string) {
	name, isTopology := compile.CutTopologyKey(key)
	if isTopology {
		return emptyNetworkTopology(), name
	}
	return emptyNetworkFault(), name
}

// clusterOfObject returns the TidbCluster that an object names.
func clusterOfObject(object client.Object) []string {
	switch o := object.(type) {
	case *v1alpha1.NetworkFault:
		return []string{o.Spec.Cluster}
	case *v1alpha1.NetworkTopology:
		return []string{o.Spec.Cluster}
	default:
		return nil
	}
}

// statusOf returns the status of an object.
func statusOf(object client.Object) (status any, life *v1alpha1.Life) {
	switch o := object.(type) {
	case *v1alpha1.NetworkFault:
		return &o.Status, &o.Status.Life
	case *v1alpha1.NetworkTopology:
		return &o.Status, &o.Status.Life
	default:
		return nil, &v1alpha1.Life{}
	}
}

func lifeOf(object client.Object) *v1alpha1.Life {
	_, life := statusOf(object)
	return life
}

// hasSameStatus reports whether two versions of an object have the same status.
func hasSameStatus(a, b client.Object) bool {
	one, _ := statusOf(a)
	other, _ := statusOf(b)
	return equality.Semantic.DeepEqual(one, other)
}

// decided returns an object with the status that was decided for it, and shares the rest with
// it; nil if none was.
func decided(object client.Object, decision decide.Decision) client.Object {
	switch o := object.(type) {
	case *v1alpha1.NetworkFault:
		if status, ok := decision.Statuses[o.Name]; ok {
			return &v1alpha1.NetworkFault{TypeMeta: o.TypeMeta, ObjectMeta: o.ObjectMeta, Spec: o.Spec, Status: status}
		}
	case *v1alpha1.NetworkTopology:
		if status, ok := decision.Topologies[o.Name]; ok {
			return &v1alpha1.NetworkTopology{TypeMeta: o.TypeMeta, ObjectMeta: o.ObjectMeta, Spec: o.Spec, Status: status}
		}
	}
	return nil
}

// put has the status of an object be the one that was decided for it.
func put(object client.Object, decision decide.Decision) {
	switch o := object.(type) {
	case *v1alpha1.NetworkFault:
		decision.Statuses[o.Name] = o.Status
	case *v1alpha1.NetworkTopology:
		decision.Topologies[o.Name] = o.Status
	}
}

// isApplied reports whether an object is in force everywhere.
func isApplied(object client.Object) bool {
	life := lifeOf(object)
	return life.Phase == v1alpha1.Running && meta.IsStatusConditionTrue(life.Conditions, v1alpha1.Applied)
}

// referenceTo refers to an object as it is now in the way that an Event does. Events
// that refer to the same objects, for the same reason, are made one, with the words of the
// first: so an Event about one object, in one state, must refer to it.
func referenceTo(object client.Object) *corev1.ObjectReference {
	apiVersion, kind := v1alpha1.GroupVersion().WithKind(kindOf(object)).ToAPIVersionAndKind()
	return &corev1.ObjectReference{
		APIVersion: apiVersion, Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(), UID: object.GetUID(), ResourceVersion: object.GetResourceVersion(),
	}
}
