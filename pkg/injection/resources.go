package injection

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// resources returns the agent's resources in pod. Which of c.Resources it gets
// depends on the pod:
//
//   - A pod with resources of its own (spec.resources): none. The sum of the
//     containers' must not exceed the pod's.
//   - A Guaranteed pod: requests equal to the limits. Otherwise the database
//     would lose its class of service, and with it its pinned CPUs.
//   - A pod whose containers all have a CPU limit: requests and limits. A
//     ResourceQuota on limits.cpu demands a limit of every container.
//   - Any other pod: requests, and a limit for memory only. The nfqueue engine
//     releases each packet on time, which a throttled container can't: it does
//     not run for up to 100 ms.
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

// guaranteed reports whether pod is in the class of service Guaranteed: each
// container limits CPU and memory, and requests as much. A request that is left
// out equals the limit.
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
