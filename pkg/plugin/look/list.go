package look

import (
	"cmp"
	"context"
	"slices"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/networkfault/facts"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// All is what is known of some TidbClusters at a moment.
type All struct {
	// Clusters are in the order of their namespaces and names. Their pods go by names and
	// labels: no owners and no nodes are read.
	Clusters []*Cluster
	// Unseen and Unknown are those of a Cluster.
	Unseen, Unknown []string
}

// List reads what is known of the TidbClusters of a namespace, or of all namespaces if it is
// empty. If TidbClusters may not be read, it finds those that have pods, faults or topologies.
func List(ctx context.Context, reader client.Reader, namespace string) (*All, error) {
	r := reading{Reader: reader, cluster: Cluster{Key: types.NamespacedName{Namespace: namespace}}}
	var objects tcv1alpha1.TidbClusterList
	isListed := false
	readObjects := func(ctx context.Context) error {
		err := r.List(ctx, &objects, client.InNamespace(namespace))
		isListed = err == nil
		return r.unseen(err, tidbClusters, "which there are, and whether they ask for agents")
	}
	group, all := errgroup.WithContext(ctx)
	for _, read := range []func(context.Context) error{readObjects, r.readPods, r.readFaults, r.readTopologies} {
		group.Go(func() error { return read(all) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(r.cluster.Unseen)
	slices.Sort(r.cluster.Unknown)
	return &All{r.split(&objects, isListed), r.cluster.Unseen, r.cluster.Unknown}, nil
}

// split returns what was read by TidbClusters: by those that are listed, or by all that are named.
func (r *reading) split(objects *tcv1alpha1.TidbClusterList, isListed bool) []*Cluster {
	found := map[types.NamespacedName]*Cluster{}
	of := func(namespace, name string) *Cluster {
		key := types.NamespacedName{Namespace: namespace, Name: name}
		if found[key] == nil {
			found[key] = &Cluster{Key: key}
		}
		return found[key]
	}
	for i := range objects.Items {
		of(objects.Items[i].Namespace, objects.Items[i].Name).Object = &objects.Items[i]
	}
	for i := range r.pods.Items {
		pod := &r.pods.Items[i]
		component, err := tidbcluster.ParseComponent(pod.Labels[tidbcluster.ComponentLabel])
		if name := resolve.ClusterName(pod); name != "" && err == nil && !facts.HasEnded(pod) {
			c := of(pod.Namespace, name)
			c.Pods = append(c.Pods, Pod{pod, facts.Pod(pod, component, nil)})
		}
	}
	for i := range r.faults.Items {
		c := of(r.faults.Items[i].Namespace, r.faults.Items[i].Spec.Cluster)
		c.Faults = append(c.Faults, &r.faults.Items[i])
	}
	for i := range r.topologies.Items {
		c := of(r.topologies.Items[i].Namespace, r.topologies.Items[i].Spec.Cluster)
		c.Topologies = append(c.Topologies, &r.topologies.Items[i])
	}
	var all []*Cluster
	for _, c := range found {
		if c.Object != nil || !isListed {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *Cluster) int {
		return cmp.Or(cmp.Compare(a.Key.Namespace, b.Key.Namespace), cmp.Compare(a.Key.Name, b.Key.Name))
	})
	return all
}
