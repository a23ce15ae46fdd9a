package resolve

import (
	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// kind is a kind of object on the way from a pod to its TidbCluster, in the
// version that is read. Owner references are compared by group and kind only,
// because the operator may write them in another version.
type kind = schema.GroupVersionKind

func podKind() kind         { return corev1.SchemeGroupVersion.WithKind("Pod") }
func statefulSetKind() kind { return kind{Group: "apps", Version: "v1", Kind: "StatefulSet"} }
func replicaSetKind() kind  { return kind{Group: "apps", Version: "v1", Kind: "ReplicaSet"} }
func deploymentKind() kind  { return kind{Group: "apps", Version: "v1", Kind: "Deployment"} }
func tidbClusterKind() kind { return tidbcluster.GroupVersionKind() }

// advancedStatefulSetKind replaces StatefulSet when the operator runs with the
// feature AdvancedStatefulSet. Its CRD is usually not installed.
func advancedStatefulSetKind() kind {
	return kind{Group: "apps.pingcap.com", Version: "v1", Kind: "StatefulSet"}
}

// owners lists the kinds that may control a child on the way to a TidbCluster.
// Each step leads to a kind nearer to the TidbCluster, so a walk takes three
// steps at most and can't go in circles.
func owners(child kind) []kind {
	switch child {
	case podKind():
		return []kind{statefulSetKind(), advancedStatefulSetKind(), replicaSetKind()}
	case replicaSetKind():
		return []kind{deploymentKind()}
	case statefulSetKind(), advancedStatefulSetKind(), deploymentKind():
		return []kind{tidbClusterKind()}
	default:
		return nil
	}
}

// controller returns child's controller owner reference and the kind it names,
// or false when there is none or it does not lead to a TidbCluster.
func controller(childKind kind, child metav1.Object) (metav1.OwnerReference, kind, bool) {
	ref := metav1.GetControllerOfNoCopy(child)
	if ref == nil {
		return metav1.OwnerReference{}, kind{}, false
	}
	named := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind).GroupKind()
	for _, k := range owners(childKind) {
		if k.GroupKind() == named {
			return *ref, k, true
		}
	}
	return *ref, kind{}, false
}

// metadataOf returns an object of kind k without its spec and status.
func metadataOf(k kind) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(k)
	return object
}

// emptyTidbCluster returns a TidbCluster that knows its own kind.
func emptyTidbCluster() *v1alpha1.TidbCluster {
	cluster := &v1alpha1.TidbCluster{}
	cluster.SetGroupVersionKind(tidbClusterKind())
	return cluster
}

// Kinds lists the kinds that the Resolver reads, for its Reader's cache. The
// cache's default transformation must be Trim.
//
// Only workloads with TiDB Operator's label are cached. One without the label is
// a cache miss and is read live, so that the label saves memory and decides
// nothing.
func Kinds() []confirm.Kind {
	operators := &cache.ByObject{
		Label: labels.SelectorFromSet(tidbcluster.OperatorLabels()),
	}
	return []confirm.Kind{
		{Object: metadataOf(statefulSetKind()), Cache: operators},
		{Object: metadataOf(replicaSetKind()), Cache: operators},
		{Object: metadataOf(deploymentKind()), Cache: operators},
		{Object: metadataOf(advancedStatefulSetKind()), Optional: true},
		{Object: emptyTidbCluster()},
	}
}
