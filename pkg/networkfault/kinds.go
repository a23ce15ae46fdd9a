package networkfault

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// The indexes of the cache.
const (
	// byCluster has NetworkFaults, NetworkTopologies and pods by the name of their TidbCluster. For pods
	// that is a guess, which the Resolver proves.
	byCluster = "cluster"
	// byNode has pods by the name of their node.
	byNode = "node"
)

// Kinds lists the kinds that a Reconciler reads from its cache, beside those of
// resolve.Kinds. The cache's default transformation must be Trim.
func Kinds() []confirm.Kind {
	return []confirm.Kind{
		{
			Object:  emptyPod(),
			Cache:   &cache.ByObject{Label: labels.SelectorFromSet(tidbcluster.OperatorLabels())},
			Indexes: map[string]client.IndexerFunc{byCluster: clusterOfPod, byNode: nodeOfPod},
		},
		{Object: emptyNode(), Cache: &cache.ByObject{Transform: trimNode}},
		{Object: emptyNetworkFault(), Indexes: map[string]client.IndexerFunc{byCluster: clusterOfObject}},
		{Object: emptyNetworkTopology(), Indexes: map[string]client.IndexerFunc{byCluster: clusterOfObject}},
	}
}

func emptyPod() *corev1.Pod {
	pod := &corev1.Pod{}
	pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	return pod
}

// emptyNode returns a node of which only the metadata is read.
func emptyNode() *metav1.PartialObjectMetadata {
	node := &metav1.PartialObjectMetadata{}
	node.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Node"))
	return node
}

func emptyNetworkFault() *v1alpha1.NetworkFault {
	fault := &v1alpha1.NetworkFault{}
	fault.SetGroupVersionKind(v1alpha1.GroupVersion().WithKind("NetworkFault"))
	return fault
}

func emptyNetworkTopology() *v1alpha1.NetworkTopology {
	topology := &v1alpha1.NetworkTopology{}
	topology.SetGroupVersionKind(v1alpha1.GroupVersion().WithKind("NetworkTopology"))
	return topology
}

func clusterOfPod(object client.Object) []string {
	if name := resolve.ClusterName(object); name != "" {
		return []string{name}
	}
	return nil
}

func nodeOfPod(object client.Object) []string {
	if pod, ok := object.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
		return []string{pod.Spec.NodeName}
	}
	return nil
}
