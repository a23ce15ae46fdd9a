package networkfault

import (
	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// Trim drops from an object, before it is cached, what nobody reads. It keeps what the
// Reconciler reads, and of other objects what resolve.Trim keeps.
func Trim(object any) (any, error) {
	switch object := object.(type) {
	case *corev1.Pod:
		trimPod(object)
		return object, nil
	case *v1alpha1.NetworkFault:
		object.ManagedFields = nil
		object.Annotations = nil // kubectl's last-applied-configuration
		return object, nil
	case *v1alpha1.NetworkTopology:
		object.ManagedFields = nil
		object.Annotations = nil
		return object, nil
	case *tcv1alpha1.TidbCluster:
		return trimTidbCluster(object)
	default:
		return resolve.Trim(object)
	}
}

// trimPod keeps what leads to the TidbCluster, and where the pod and its agent are.
func trimPod(pod *corev1.Pod) {
	kept := corev1.Pod{
		TypeMeta: pod.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			DeletionTimestamp: pod.DeletionTimestamp,
			Labels:            map[string]string{tidbcluster.ComponentLabel: pod.Labels[tidbcluster.ComponentLabel]},
		},
		Spec: corev1.PodSpec{
			NodeName: pod.Spec.NodeName, HostNetwork: pod.Spec.HostNetwork,
			Containers: agentsOf(pod.Spec.Containers), InitContainers: agentsOf(pod.Spec.InitContainers),
			EphemeralContainers: attachedOf(pod.Spec.EphemeralContainers),
		},
		Status: corev1.PodStatus{Phase: pod.Status.Phase, PodIP: pod.Status.PodIP, PodIPs: pod.Status.PodIPs},
	}
	if ref := metav1.GetControllerOfNoCopy(pod); ref != nil {
		kept.OwnerReferences = []metav1.OwnerReference{*ref}
	}
	kept.Status.ContainerStatuses, kept.Status.InitContainerStatuses = statusesOf(pod.Status.ContainerStatuses), agentStatusesOf(pod.Status.InitContainerStatuses)
	kept.Status.EphemeralContainerStatuses = attachedStatusesOf(pod.Status.EphemeralContainerStatuses)
	*pod = kept
}

// statusesOf returns which containers are ready, and which one the agent is.
func statusesOf(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	var kept []corev1.ContainerStatus
	for _, s := range statuses {
		if s.Name != injection.ContainerName {
			kept = append(kept, corev1.ContainerStatus{Name: s.Name, Ready: s.Ready})
		}
	}
	return append(kept, agentStatusesOf(statuses)...)
}

// agentStatusesOf returns which container the agent is, and whether it runs, waits or has
// ended. How it ended, and what it waits for, change often and are left out.
func agentStatusesOf(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	for _, s := range statuses {
		if s.Name != injection.ContainerName {
			continue
		}
		return []corev1.ContainerStatus{agentStatusOf(s)}
	}
	return nil
}

// attachedStatusesOf returns the same of all ephemeral containers, any of which may be the
// agent.
func attachedStatusesOf(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	var kept []corev1.ContainerStatus
	for _, s := range statuses {
		kept = append(kept, agentStatusOf(s))
	}
	return kept
}

func agentStatusOf(s corev1.ContainerStatus) corev1.ContainerStatus {
	kept := corev1.ContainerStatus{Name: s.Name, ContainerID: s.ContainerID}
	if s.State.Waiting != nil {
		kept.State.Waiting = &corev1.ContainerStateWaiting{}
	}
	if s.State.Terminated != nil {
		kept.State.Terminated = &corev1.ContainerStateTerminated{}
	}
	return kept
}

// attachedOf returns ephemeral containers, any of which may be the agent.
func attachedOf(containers []corev1.EphemeralContainer) []corev1.EphemeralContainer {
	var kept []corev1.EphemeralContainer
	for _, c := range containers {
		kept = append(kept, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: c.Name, Args: c.Args}})
	}
	return kept
}

// agentsOf returns the containers that may be the agent, without what nobody reads.
func agentsOf(containers []corev1.Container) []corev1.Container {
	var kept []corev1.Container
	for _, c := range containers {
		if c.Name != injection.ContainerName {
			continue
		}
		agent := corev1.Container{Name: c.Name, Args: c.Args, RestartPolicy: c.RestartPolicy}
		for _, m := range c.VolumeMounts {
			agent.VolumeMounts = append(agent.VolumeMounts, corev1.VolumeMount{Name: m.Name})
		}
		kept = append(kept, agent)
	}
	return kept
}

// trimNode keeps a node's labels, any of which can be the zoneKey of a NetworkTopology.
func trimNode(object any) (any, error) {
	if node, ok := object.(*metav1.PartialObjectMetadata); ok {
		node.ObjectMeta = metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion, Labels: node.Labels}
	}
	return object, nil
}
