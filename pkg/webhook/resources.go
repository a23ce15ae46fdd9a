package webhook

import (
	"slices"

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
//
// Where every container has a CPU limit the agent has one too, for a
// ResourceQuota on limits.cpu demands it of each and would reject the pod. A
// pod with resources of its own (spec.resources) gets nothing added: its parts
// must not be larger than the whole.
func resources(pod *corev1.Pod) corev1.ResourceRequirements {
	if pod.Spec.Resources != nil {
		return corev1.ResourceRequirements{}
	}
	memory := resource.MustParse("128Mi")
	if guaranteed(pod) {
		all := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: memory}
		return corev1.ResourceRequirements{Requests: all, Limits: all.DeepCopy()}
	}
	limits := corev1.ResourceList{corev1.ResourceMemory: memory}
	if limitsCPU(pod) {
		limits[corev1.ResourceCPU] = resource.MustParse("500m")
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("10m"),
			corev1.ResourceMemory: resource.MustParse("32Mi"),
		},
		Limits: limits,
	}
}

// limitsCPU reports whether every container of pod has a CPU limit.
func limitsCPU(pod *corev1.Pod) bool {
	return !slices.ContainsFunc(allContainers(pod), func(c corev1.Container) bool {
		return c.Resources.Limits.Cpu().IsZero()
	})
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
