package resolve

import (
	"slices"
	"strings"
	"unique"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Trim drops from an object, before it is cached, what nobody reads. It keeps what
// the Resolver reads, and Tidelay's own condition of a TidbCluster.
func Trim(object any) (any, error) {
	switch object := object.(type) {
	case *metav1.PartialObjectMetadata:
		trimWorkload(object)
	case *v1alpha1.TidbCluster:
		trimTidbCluster(object)
	}
	return object, nil
}

// trimWorkload keeps what leads to the TidbCluster. There are twenty workloads
// and more for each TidbCluster, so strings that they have in common are kept in
// memory once.
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

// shared returns the only copy of s in memory, which all callers share.
func shared[T ~string](s T) T { return unique.Make(s).Value() }

// trimTidbCluster keeps what a Membership says, and our condition. Untrimmed, with
// spec, status, managed fields and kubectl's last-applied-configuration, a
// TidbCluster takes about 17 KB of memory.
func trimTidbCluster(c *v1alpha1.TidbCluster) {
	*c = v1alpha1.TidbCluster{TypeMeta: c.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Name:              shared(c.Name),
		Namespace:         shared(c.Namespace),
		UID:               shared(c.UID),
		ResourceVersion:   c.ResourceVersion,
		DeletionTimestamp: c.DeletionTimestamp,
		Annotations:       ownAnnotations(c.Annotations),
	}, Status: v1alpha1.TidbClusterStatus{Conditions: slices.DeleteFunc(c.Status.Conditions, func(c v1alpha1.TidbClusterCondition) bool {
		return c.Type != tidbcluster.InjectedCondition
	})}}
}

// ownAnnotations returns the annotations of Tidelay.
func ownAnnotations(annotations map[string]string) map[string]string {
	kept := map[string]string{}
	for key, value := range annotations {
		if strings.HasPrefix(key, tidbcluster.AnnotationPrefix) {
			kept[key] = value
		}
	}
	return kept
}
