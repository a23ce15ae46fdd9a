package injection

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// agentRemoved says that pod was given an agent of which only the volumes are left. It
// returns "" if not. With the annotation alone the pod is a new one whose author has
// copied it.
func agentRemoved(pod *corev1.Pod) string {
	_, given := pod.Annotations[StatusAnnotation]
	if !given || slices.ContainsFunc(allContainers(pod), hasOurName) || !slices.ContainsFunc(pod.Spec.Volumes, isOurVolume) {
		return ""
	}
	return fmt.Sprintf("the pod has the annotation %s and the agent's volumes, and no container %s: another webhook has removed it", StatusAnnotation, ContainerName)
}

func hasOurName(c corev1.Container) bool { return c.Name == ContainerName }

func isOurVolume(v corev1.Volume) bool {
	return slices.Contains([]string{stateVolume, noTokenVolume, tokenVolume}, v.Name)
}

// nameConflict says which container or volume of pod has a name that the agent
// needs. It returns "" if none has.
func nameConflict(pod *corev1.Pod) string {
	for _, c := range allContainers(pod) {
		if hasOurName(c) {
			return fmt.Sprintf("a container is already called %s", c.Name)
		}
	}
	if i := slices.IndexFunc(pod.Spec.Volumes, isOurVolume); i >= 0 {
		return fmt.Sprintf("a volume is already called %s", pod.Spec.Volumes[i].Name)
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
