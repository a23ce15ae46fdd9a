package forward

import (
	"context"
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/confirm"
)

// revisionAnnotation is where a Deployment writes the revision of a ReplicaSet
// (RevisionAnnotation in pkg/controller/deployment/util/deployment_util.go of
// Kubernetes).
const revisionAnnotation = "deployment.kubernetes.io/revision"

// Replicas reads the injector's replicas from a cache.
type Replicas struct {
	// Cache keeps the kinds that Kinds lists, with the options of CacheOptions.
	Cache client.Reader
	// Namespace is the injector's.
	Namespace string
	// Self is the name of this replica's pod.
	Self string
}

// Kinds lists what Replicas reads: the injector's pods, and the metadata of its
// ReplicaSets.
func Kinds(namespace string) []confirm.Kind {
	sets := &metav1.PartialObjectMetadata{}
	sets.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))
	pod := &corev1.Pod{}
	pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	return []confirm.Kind{
		{Object: pod, Cache: &cache.ByObject{Namespaces: map[string]cache.Config{namespace: {}}}},
		{Object: sets},
	}
}

// CacheOptions returns the options of a cache for the injector's own objects in its
// namespace. It is a cache of its own because package resolve keeps other
// ReplicaSets, those of TiDB Operator in all namespaces.
func CacheOptions(scheme *runtime.Scheme, namespace string) cache.Options {
	return cache.Options{
		Scheme:                      scheme,
		ByObject:                    confirm.ByObject(Kinds(namespace)),
		DefaultNamespaces:           map[string]cache.Config{namespace: {}},
		DefaultLabelSelector:        labels.SelectorFromSet(Labels()),
		DefaultTransform:            cache.TransformStripManagedFields(),
		ReaderFailOnMissingInformer: true,
	}
}

// Labels are the labels of the injector's pods and ReplicaSets, in the base and in
// the chart.
func Labels() labels.Set {
	return labels.Set{"app.kubernetes.io/name": "tidelay", "app.kubernetes.io/component": "injector"}
}

// successor returns the replica that answers in place of this one, if there is one.
func (r *Replicas) successor(ctx context.Context) (next replica, ok bool, err error) {
	sets := &metav1.PartialObjectMetadataList{}
	sets.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("ReplicaSetList"))
	if err := r.Cache.List(ctx, sets, client.InNamespace(r.Namespace)); err != nil {
		return replica{}, false, fmt.Errorf("list ReplicaSets: %w", err)
	}
	pods := &corev1.PodList{}
	if err := r.Cache.List(ctx, pods, client.InNamespace(r.Namespace)); err != nil {
		return replica{}, false, fmt.Errorf("list pods: %w", err)
	}
	revisions := map[string]int64{}
	for i := range sets.Items {
		revisions[sets.Items[i].Name] = revision(&sets.Items[i])
	}
	var all []replica
	for i := range pods.Items {
		pod := &pods.Items[i]
		set := ""
		if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
			set = owner.Name
		}
		all = append(all, newReplica(pod, revisions[set]))
	}
	next, ok = successor(r.Self, all)
	return next, ok, nil
}

// revision returns a ReplicaSet's revision, or 0 if it has none.
func revision(set *metav1.PartialObjectMetadata) int64 {
	n, err := strconv.ParseInt(set.Annotations[revisionAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return max(n, 0)
}
