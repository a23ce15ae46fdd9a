// Package look reads what is known of a TidbCluster from the API server, with the rights of
// the person who asks. What that person may not see is said, and does without.
package look

import (
	"context"
	"fmt"
	"slices"
	"sync"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin/object"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Read reads what is known of a TidbCluster. The error is a *NotFound if there is no such
// TidbCluster.
func Read(ctx context.Context, reader client.Reader, key types.NamespacedName) (*Cluster, error) {
	r := newReading(reader, key)
	return r.all(ctx, r.readObject, r.readPods, r.readNodes, r.readFaults, r.readTopologies, r.readLease)
}

// ReadPods is Read without nodes, faults, topologies and the Lease.
func ReadPods(ctx context.Context, reader client.Reader, key types.NamespacedName) (*Cluster, error) {
	r := newReading(reader, key)
	return r.all(ctx, r.readObject, r.readPods)
}

func newReading(reader client.Reader, key types.NamespacedName) *reading {
	return &reading{Reader: reader, cluster: Cluster{Key: key}, labels: map[string]map[string]string{}}
}

// all reads by some functions at once, and then finds the pods of the TidbCluster.
func (r *reading) all(ctx context.Context, reads ...func(context.Context) error) (*Cluster, error) {
	group, during := errgroup.WithContext(ctx)
	for _, read := range reads {
		group.Go(func() error { return read(during) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := r.resolve(ctx); err != nil {
		return nil, err
	}
	r.part()
	slices.Sort(r.cluster.Unseen)
	slices.Sort(r.cluster.Hidden)
	slices.Sort(r.cluster.Unknown)
	return &r.cluster, nil
}

// part parts the faults and topologies in those of the TidbCluster and those of others.
func (r *reading) part() {
	c := &r.cluster
	for i := range r.faults.Items {
		if f := &r.faults.Items[i]; f.Spec.Cluster == c.Key.Name {
			c.Faults = append(c.Faults, f)
		} else {
			c.OtherFaults = append(c.OtherFaults, f)
		}
	}
	for i := range r.topologies.Items {
		if t := &r.topologies.Items[i]; t.Spec.Cluster == c.Key.Name {
			c.Topologies = append(c.Topologies, t)
		} else {
			c.OtherTopologies = append(c.OtherTopologies, t)
		}
	}
}

// reading is a Read under way. Each of its fields is written by one of its functions, but for
// what is unseen and unknown.
type reading struct {
	client.Reader
	cluster    Cluster
	pods       corev1.PodList
	faults     v1alpha1.NetworkFaultList
	topologies v1alpha1.NetworkTopologyList
	labels     map[string]map[string]string // of nodes, by name

	mu sync.Mutex
}

// What nothing can be judged without.
const (
	tidbClusters = "TidbClusters"
	pods         = "pods"
)

// nodes are what zones of nodes are not known without.
const nodes = "nodes"

// unseen notes that something may not be seen. It returns every other error.
func (r *reading) unseen(err error, what, so string) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		r.mu.Lock()
		defer r.mu.Unlock()
		r.cluster.Blind = r.cluster.Blind || what == tidbClusters || what == pods
		if !slices.Contains(r.cluster.Hidden, what) {
			r.cluster.Hidden = append(r.cluster.Hidden, what)
			r.cluster.Unseen = append(r.cluster.Unseen, "you may not read "+what+", so this is not known: "+so)
		}
		return nil
	default:
		return fmt.Errorf("read %s: %w", what, err)
	}
}

func (r *reading) readObject(ctx context.Context) error {
	tc := &tcv1alpha1.TidbCluster{}
	err := r.Get(ctx, r.cluster.Key, tc)
	switch {
	case err == nil:
		r.cluster.Object = tc
		return nil
	case apierrors.IsNotFound(err):
		return &NotFound{r.cluster.Key, Names(ctx, r, r.cluster.Key.Namespace), r.elsewhere(ctx)}
	default:
		return r.unseen(err, tidbClusters, "roles, health, the verdict of safety, and which pod is to hold what")
	}
}

// elsewhere returns the namespaces that have a TidbCluster of the name; none if they can't be
// listed.
func (r *reading) elsewhere(ctx context.Context) []string {
	var all tcv1alpha1.TidbClusterList
	if err := r.List(ctx, &all); err != nil {
		return nil
	}
	var namespaces []string
	for _, c := range all.Items {
		if c.Name == r.cluster.Key.Name {
			namespaces = append(namespaces, c.Namespace)
		}
	}
	slices.Sort(namespaces)
	return namespaces
}

// Names returns the names of the TidbClusters of a namespace; none if they can't be
// listed.
func Names(ctx context.Context, reader client.Reader, namespace string) []string {
	var all tcv1alpha1.TidbClusterList
	if err := reader.List(ctx, &all, client.InNamespace(namespace)); err != nil {
		return nil
	}
	var names []string
	for _, c := range all.Items {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return names
}

func (r *reading) readPods(ctx context.Context) error {
	err := r.List(ctx, &r.pods, client.InNamespace(r.cluster.Key.Namespace), client.MatchingLabels(tidbcluster.OperatorLabels()))
	return r.unseen(err, pods, "which pods there are")
}

func (r *reading) readNodes(ctx context.Context) error {
	var all metav1.PartialObjectMetadataList
	all.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NodeList"))
	if err := r.unseen(r.List(ctx, &all), nodes, "the zones of nodes"); err != nil {
		return err
	}
	for _, node := range all.Items {
		r.labels[node.Name] = node.Labels
	}
	return nil
}

func (r *reading) readFaults(ctx context.Context) error {
	return r.readOwn(ctx, &r.faults, object.Faults, "which faults there are")
}

func (r *reading) readTopologies(ctx context.Context) error {
	return r.readOwn(ctx, &r.topologies, object.Topologies, "which topologies there are")
}

// readOwn reads all objects of one of Tidelay's kinds.
func (r *reading) readOwn(ctx context.Context, list client.ObjectList, kind, so string) error {
	err := r.List(ctx, list, client.InNamespace(r.cluster.Key.Namespace))
	r.mu.Lock()
	r.cluster.Veiled = r.cluster.Veiled || apierrors.IsForbidden(err)
	if apierrors.IsNotFound(err) {
		r.cluster.Unknown = append(r.cluster.Unknown, kind)
		err = nil
	}
	r.mu.Unlock()
	return r.unseen(err, kind, so)
}
