package networkfault

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// concurrency is how many TidbClusters are reconciled at once. Most of a call's time is
// the API server's.
const concurrency = 8

// maxBackoff is the longest wait after a failure.
const maxBackoff = 30 * time.Second

type (
	request = ctrl.Request
	queue   = workqueue.TypedRateLimitingInterface[request]
)

// Changes passes on which TidbClusters are to be reconciled, from a Keeper, which is
// there first, to the controller. The zero value passes nothing on.
type Changes struct{ queue atomic.Pointer[queue] }

// Add has a TidbCluster reconciled.
func (c *Changes) Add(cluster types.NamespacedName) {
	if q := c.queue.Load(); q != nil {
		(*q).Add(request{NamespacedName: cluster})
	}
}

// source returns the changes as a controller takes them.
func (c *Changes) source() source.Source {
	return source.Func(func(_ context.Context, q queue) error {
		c.queue.Store(&q)
		return nil
	})
}

// AddToManager has the replica that leads reconcile TidbClusters when something of what
// matters changes, or changes says so.
func AddToManager(mgr ctrl.Manager, r *Reconciler, changes *Changes) error {
	c, err := controller.New("networkfault", mgr, controller.Options{
		Reconciler:              r,
		MaxConcurrentReconciles: concurrency,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[request](100*time.Millisecond, maxBackoff),
	})
	if err != nil {
		return fmt.Errorf("create controller: %w", err)
	}
	for _, s := range append(sources(mgr.GetCache()), changes.source()) {
		if err := c.Watch(s); err != nil {
			return fmt.Errorf("watch %s: %w", s, err)
		}
	}
	return nil
}

// sources are what a controller watches in the cache.
func sources(kinds cache.Cache) []source.Source {
	cluster := &tcv1alpha1.TidbCluster{}
	cluster.SetGroupVersionKind(tidbcluster.GroupVersionKind())
	return []source.Source{
		source.Kind[client.Object](kinds, cluster, &handler.EnqueueRequestForObject{}, changed()),
		source.Kind[client.Object](kinds, emptyNetworkFault(), enqueue(clusterOfObject)),
		source.Kind[client.Object](kinds, emptyNetworkTopology(), enqueue(clusterOfObject)),
		source.Kind[client.Object](kinds, emptyPod(), enqueue(clusterOfPod), changed()),
		source.Kind[client.Object](kinds, emptyNode(), handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, node client.Object) []request {
			return clustersOnNode(ctx, kinds, node.GetName())
		}), changed()),
	}
}

// enqueue returns a handler that has an object's TidbCluster reconciled.
func enqueue(clusterOf client.IndexerFunc) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []request { return requestsFor(clusterOf, object) })
}

func requestsFor(clusterOf client.IndexerFunc, object client.Object) []request {
	var all []request
	for _, name := range clusterOf(object) {
		all = append(all, request{NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: name}})
	}
	return all
}

// clustersOnNode returns the TidbClusters with pods on a node, one for each pod: the
// handler that asks for them drops repeats.
func clustersOnNode(ctx context.Context, reader client.Reader, node string) []request {
	var pods corev1.PodList
	if err := reader.List(ctx, &pods, client.MatchingFields{byNode: node}, client.UnsafeDisableDeepCopy); err != nil {
		return nil // only before the cache is there, and then everything is reconciled
	}
	var all []request
	for i := range pods.Items {
		all = append(all, requestsFor(clusterOfPod, &pods.Items[i])...)
	}
	return all
}

// changed leaves out updates that change nothing of what the cache keeps.
func changed() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return !equality.Semantic.DeepEqual(withoutVersion(e.ObjectOld), withoutVersion(e.ObjectNew))
	}}
}

// withoutVersion returns an object without its resource version, which each update
// changes. The object is the cache's own, so it is copied as far as it is changed.
func withoutVersion(object client.Object) any {
	switch o := object.(type) {
	case *corev1.Pod:
		kept := *o
		kept.ResourceVersion = ""
		return kept
	case *tcv1alpha1.TidbCluster:
		kept := *o
		kept.ResourceVersion = ""
		kept.Status.Conditions = nil // our own, of the check for missed pods
		return kept
	case *metav1.PartialObjectMetadata:
		kept := *o
		kept.ResourceVersion = ""
		return kept
	default:
		return object
	}
}
