package networkfault

import (
	"context"
	"errors"
	"fmt"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/facts"
	"github.com/tidelay/tidelay/pkg/networkfault/keeper"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// observation is what is known of a TidbCluster at a moment.
type observation struct {
	cluster *tcv1alpha1.TidbCluster // nil if there is none
	objects []client.Object         // NetworkFaults and NetworkTopologies
	pods    []member
	// strangers are pods that are no longer of the TidbCluster, and whose agents may
	// still hold its faults.
	strangers []*corev1.Pod
}

// member is a pod of a TidbCluster.
type member struct {
	*corev1.Pod
	component  tidbcluster.Component
	nodeLabels map[string]string
}

// observe reads what is known of a TidbCluster. It changes nothing of what it reads,
// which is the cache's own.
func (r *Reconciler) observe(ctx context.Context, key types.NamespacedName, states map[types.UID]decide.AgentState) (observation, error) {
	var o observation
	cluster := &tcv1alpha1.TidbCluster{}
	switch err := r.options.Reader.Get(ctx, key, cluster, client.UnsafeDisableDeepCopy); {
	case client.IgnoreNotFound(err) != nil:
		return o, fmt.Errorf("read TidbCluster: %w", err)
	case err == nil:
		o.cluster = cluster
	}
	ofCluster := []client.ListOption{client.InNamespace(key.Namespace), client.MatchingFields{byCluster: key.Name}, client.UnsafeDisableDeepCopy}
	var faults v1alpha1.NetworkFaultList
	if err := r.options.Reader.List(ctx, &faults, ofCluster...); err != nil {
		return o, fmt.Errorf("list NetworkFaults: %w", err)
	}
	for i := range faults.Items {
		o.objects = append(o.objects, &faults.Items[i])
	}
	var topologies v1alpha1.NetworkTopologyList
	if err := r.options.Reader.List(ctx, &topologies, ofCluster...); err != nil {
		return o, fmt.Errorf("list NetworkTopologies: %w", err)
	}
	for i := range topologies.Items {
		o.objects = append(o.objects, &topologies.Items[i])
	}
	var pods corev1.PodList
	if err := r.options.Reader.List(ctx, &pods, ofCluster...); err != nil {
		return o, fmt.Errorf("list pods: %w", err)
	}
	for i := range pods.Items {
		if err := r.observePod(ctx, &o, &pods.Items[i], states); err != nil {
			return o, err
		}
	}
	return o, nil
}

// observePod adds a pod to what is known of its TidbCluster, if it belongs to it.
func (r *Reconciler) observePod(ctx context.Context, o *observation, pod *corev1.Pod, states map[types.UID]decide.AgentState) error {
	isOfNoUse := len(o.objects) == 0 && !injection.HasAgent(pod)
	if facts.HasEnded(pod) || isOfNoUse {
		return nil
	}
	found, err := r.options.Resolver.Resolve(ctx, pod.Namespace, pod)
	switch _, isKnown := states[pod.UID]; {
	case err == nil && o.cluster != nil && found.UID == o.cluster.UID:
		labels, err := r.nodeLabels(ctx, pod.Spec.NodeName)
		if err != nil {
			return err
		}
		o.pods = append(o.pods, member{pod, found.Component, labels})
	case err != nil && !errors.Is(err, tidbcluster.ErrNotMember) && !errors.Is(err, tidbcluster.ErrStaleOwner):
		return fmt.Errorf("resolve pod %s: %w", pod.Name, err)
	case isKnown:
		o.strangers = append(o.strangers, pod)
	}
	return nil
}

// nodeLabels returns the labels of a node; none if it has none or is not known yet.
func (r *Reconciler) nodeLabels(ctx context.Context, node string) (map[string]string, error) {
	object := emptyNode()
	if node == "" {
		return object.Labels, nil
	}
	if err := r.options.Reader.Get(ctx, client.ObjectKey{Name: node}, object, client.UnsafeDisableDeepCopy); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read node %s: %w", node, err)
	}
	return object.Labels, nil
}

// objectsToDecide returns the objects as package decide takes them.
func (o *observation) objectsToDecide() (faults []*v1alpha1.NetworkFault, topologies []*v1alpha1.NetworkTopology) {
	for _, object := range o.objects {
		switch object := object.(type) {
		case *v1alpha1.NetworkFault:
			faults = append(faults, object)
		case *v1alpha1.NetworkTopology:
			topologies = append(topologies, object)
		}
	}
	return faults, topologies
}

// podsToDecide returns the pods as package decide takes them.
func (o *observation) podsToDecide(states map[types.UID]decide.AgentState) []decide.Pod {
	all := make([]decide.Pod, 0, len(o.pods))
	for _, p := range o.pods {
		one := facts.Pod(p.Pod, p.component, p.nodeLabels)
		one.State = states[p.UID]
		all = append(all, one)
	}
	return all
}

// targets returns what agents are to hold.
func (o *observation) targets(faults map[string][]decide.Fault) []keeper.Target {
	var all []keeper.Target
	add := func(pod *corev1.Pod, faults []decide.Fault) {
		if addrs := facts.Addresses(pod); len(addrs) > 0 {
			agent, _ := injection.AgentOf(pod)
			all = append(all, keeper.Target{
				Pod: client.ObjectKeyFromObject(pod), UID: pod.UID, Addr: addrs[0], Instance: agent.Status.ContainerID, Down: agent.IsDown(),
				MaxDuration: agent.MaxDuration(), IsOpen: agent.Attached, Faults: faults,
			})
		}
	}
	for _, p := range o.pods {
		if own, ok := faults[p.Name]; ok {
			add(p.Pod, own)
		}
	}
	for _, p := range o.strangers {
		add(p, nil)
	}
	return all
}
