// Package facts reads from a pod, as Kubernetes has it, what package decide knows of it. The
// controller and the plugin judge by the same facts.
//
// The package is pure.
package facts

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Pod returns a pod of a component, on a node with some labels. What its agent holds is not
// known here.
func Pod(pod *corev1.Pod, component tidbcluster.Component, nodeLabels map[string]string) decide.Pod {
	agent, has := injection.AgentOf(pod)
	return decide.Pod{
		Name: pod.Name, Component: component, Zone: nodeLabels[corev1.LabelTopologyZone], NodeLabels: nodeLabels,
		Unscheduled: pod.Spec.NodeName == "", Addrs: Addresses(pod), HostNetwork: pod.Spec.HostNetwork,
		Agent: has && !agent.HasEnded(), AgentEnded: agent.HasEnded(), Ready: isReady(pod, component),
	}
}

// HasEnded reports whether a pod runs no more and will not run again.
func HasEnded(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// Addresses returns the addresses of a pod, of which the first is the one it is best known
// by.
func Addresses(pod *corev1.Pod) []netip.Addr {
	texts := []string{pod.Status.PodIP}
	for _, ip := range pod.Status.PodIPs {
		texts = append(texts, ip.IP)
	}
	var all []netip.Addr
	for _, text := range texts {
		if addr, err := netip.ParseAddr(text); err == nil && !slices.Contains(all, addr) {
			all = append(all, addr)
		}
	}
	return all
}

// isReady reports whether a component is ready in its pod, whatever its agent is. TiDB
// Operator names the container like the component.
func isReady(pod *corev1.Pod, component tidbcluster.Component) bool {
	return slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == string(component) && s.Ready })
}
