package resolve

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// ClusterName returns the name of the only TidbCluster that a pod can be part of, or ""
// if it can't be part of any. It reads nothing: it goes by the name of the pod's
// workload, which is CLUSTER-COMPONENT. Only Resolve proves it.
func ClusterName(pod metav1.Object) string {
	workload := Workload(pod)
	for _, component := range tidbcluster.Components() {
		if name, ok := strings.CutSuffix(workload, "-"+string(component)); ok {
			return name
		}
	}
	return ""
}

// Workload returns the name of the StatefulSet or Deployment that a pod can be of, or "" if
// its controller is nothing on the way to a TidbCluster. It reads nothing.
func Workload(pod metav1.Object) string {
	ref, kind, ok := controller(podKind(), pod)
	if !ok {
		return ""
	}
	if kind == replicaSetKind() { // of a Deployment, whose name a hash follows
		return ref.Name[:max(strings.LastIndex(ref.Name, "-"), 0)]
	}
	return ref.Name
}
