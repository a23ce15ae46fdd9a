package injection

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// HasAgent reports whether pod has an agent that we added. A container with the
// agent's name but without our annotation is somebody else's.
func HasAgent(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[StatusAnnotation]
	return ok && (slices.ContainsFunc(pod.Spec.Containers, isAgent) ||
		slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return isAgent(c) && isNative(c) }))
}

func isAgent(c corev1.Container) bool { return c.Name == ContainerName }

// nameConflict says which container or volume of pod has a name that the agent
// needs. It returns "" if none has.
func nameConflict(pod *corev1.Pod) string {
	for _, c := range allContainers(pod) {
		if isAgent(c) {
			return fmt.Sprintf("a container is already called %s", c.Name)
		}
	}
	for _, v := range pod.Spec.Volumes {
		if slices.Contains([]string{stateVolume, noTokenVolume, tokenVolume}, v.Name) {
			return fmt.Sprintf("a volume is already called %s", v.Name)
		}
	}
	return ""
}

// portConflict says which container of pod declares the agent's TCP port, or is probed
// there. It returns "" if none is. A container may use the same number for UDP. What it
// listens on without declaring it cannot be known before it runs; the agent says then
// that its port is taken.
func portConflict(pod *corev1.Pod) string {
	for _, c := range allContainers(pod) {
		for _, p := range c.Ports {
			tcp := p.Protocol == corev1.ProtocolTCP || p.Protocol == ""
			if tcp && (p.ContainerPort == api.Port || p.HostPort == api.Port) {
				return fmt.Sprintf("container %s uses port %d", c.Name, api.Port)
			}
		}
		if slices.Contains(probePorts(c), api.Port) {
			return fmt.Sprintf("container %s is probed on port %d", c.Name, api.Port)
		}
	}
	return ""
}

// allContainers returns the init containers and the containers of pod.
func allContainers(pod *corev1.Pod) []corev1.Container {
	return slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers)
}
