package webhook

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// resources returns what the agent asks for. It takes about 11 MiB and no CPU
// to speak of while it waits.
//
// It has no CPU limit where it can do without: the nfqueue engine releases each
// packet on time, and a throttled container does not run for up to 100 ms. In a
// Guaranteed pod it must have one, equal to its request, or the database would
// lose its class and with it its pinned CPUs. Half a core is more than delaying
// 10,000 packets/s takes, and little beside a database that is Guaranteed.
func resources(pod *corev1.Pod) corev1.ResourceRequirements {
	memory := resource.MustParse("128Mi")
	if guaranteed(pod) {
		all := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: memory}
		return corev1.ResourceRequirements{Requests: all, Limits: all.DeepCopy()}
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("10m"),
			corev1.ResourceMemory: resource.MustParse("32Mi"),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: memory},
	}
}

// guaranteed reports whether pod is in the Guaranteed class without the agent:
// each of its containers limits CPU and memory and requests as much. A request
// left out is as large as the limit.
func guaranteed(pod *corev1.Pod) bool {
	for _, c := range allContainers(pod) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			limit, limited := c.Resources.Limits[name]
			request, requested := c.Resources.Requests[name]
			if !limited || limit.IsZero() || requested && request.Cmp(limit) != 0 {
				return false
			}
		}
	}
	return true
}
