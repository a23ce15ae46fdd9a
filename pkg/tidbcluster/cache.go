package tidbcluster

import (
	"slices"
	"strings"
	"unique"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/tidelay/tidelay/pkg/confirm"
)

// InjectedCondition is the condition of a TidbCluster that says whether its pods
// carry the agent.
const InjectedCondition v1alpha1.TidbClusterConditionType = "TidelayInjected"

// OperatorLabels select what TiDB Operator makes: a hint, and no proof.
func OperatorLabels() map[string]string {
	return map[string]string{"app.kubernetes.io/managed-by": "tidb-operator"}
}

// Kinds lists what the Resolver reads, to be kept in its Reader's cache, whose
// default transformation must be Trim.
//
// Of the workloads only TiDB Operator's are kept. Its label is no proof, but a
// workload without it is merely a cache miss, and read live.
func Kinds() []confirm.Kind {
	operators := &cache.ByObject{
		Label: labels.SelectorFromSet(OperatorLabels()),
	}
	return []confirm.Kind{
		{Object: metadataOf(statefulSetKind()), Cache: operators},
		{Object: metadataOf(replicaSetKind()), Cache: operators},
		{Object: metadataOf(deploymentKind()), Cache: operators},
		{Object: metadataOf(advancedStatefulSetKind()), Optional: true},
		{Object: emptyTidbCluster()},
	}
}

// Trim drops what the Resolver does not read from an object about to be cached.
func Trim(object any) (any, error) {
	switch object := object.(type) {
	case *metav1.PartialObjectMetadata:
		trimWorkload(object)
	case *v1alpha1.TidbCluster:
		trimTidbCluster(object)
	}
	return object, nil
}

// trimWorkload keeps the way to the TidbCluster. A cluster of many has twenty
// workloads and more for each, so what they have in common is kept once.
func trimWorkload(o *metav1.PartialObjectMetadata) {
	o.TypeMeta = metav1.TypeMeta{Kind: shared(o.Kind), APIVersion: shared(o.APIVersion)}
	o.ObjectMeta = metav1.ObjectMeta{
		Name:            o.Name,
		Namespace:       shared(o.Namespace),
		UID:             o.UID,
		ResourceVersion: o.ResourceVersion,
		OwnerReferences: onlyController(o),
	}
}

// onlyController returns the controller owner reference of o, or none.
func onlyController(o metav1.Object) []metav1.OwnerReference {
	ref := metav1.GetControllerOfNoCopy(o)
	if ref == nil {
		return nil
	}
	return []metav1.OwnerReference{{
		APIVersion: shared(ref.APIVersion), Kind: shared(ref.Kind), Name: shared(ref.Name), UID: shared(ref.UID), Controller: new(true),
	}}
}

// shared returns the one copy of s that everybody shares.
func shared[T ~string](s T) T { return unique.Make(s).Value() }

// trimTidbCluster keeps what a Membership says, and our condition. With spec,
// status, managed fields and kubectl's last-applied-configuration a TidbCluster
// takes about 17 KB of memory.
func trimTidbCluster(c *v1alpha1.TidbCluster) {
	*c = v1alpha1.TidbCluster{TypeMeta: c.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Name:              shared(c.Name),
		Namespace:         shared(c.Namespace),
		UID:               shared(c.UID),
		ResourceVersion:   c.ResourceVersion,
		DeletionTimestamp: c.DeletionTimestamp,
		Annotations:       ours(c.Annotations),
	}, Status: v1alpha1.TidbClusterStatus{Conditions: slices.DeleteFunc(c.Status.Conditions, func(c v1alpha1.TidbClusterCondition) bool {
		return c.Type != InjectedCondition
	})}}
}

func ours(annotations map[string]string) map[string]string {
	kept := map[string]string{}
	for key, value := range annotations {
		if strings.HasPrefix(key, annotationPrefix) {
			kept[key] = value
		}
	}
	return kept
}
