package webhook

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// resources returns what the agent asks for in pod.
//
// It has no CPU limit where it can do without: the nfqueue engine releases each
// packet on time, and a throttled container does not run for up to 100 ms. In a
// Guaranteed pod it must have one, equal to its request, or the database would
// lose its class and with it its pinned CPUs.
//
// Where every container has a CPU limit the agent has one too, for a
// ResourceQuota on limits.cpu demands it of each and would reject the pod. A
// pod with resources of its own (spec.resources) gets nothing added: its parts
// must not be larger than the whole.
func (c Config) resources(pod *corev1.Pod) corev1.ResourceRequirements {
	if pod.Spec.Resources != nil {
		return corev1.ResourceRequirements{}
	}
	r := corev1.ResourceRequirements{Requests: c.Resources.Requests.DeepCopy(), Limits: c.Resources.Limits.DeepCopy()}
	if guaranteed(pod) {
		r.Requests = c.Resources.Limits.DeepCopy()
		return r
	}
	if !limitsCPU(pod) {
		delete(r.Limits, corev1.ResourceCPU)
	}
	return r
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
