package injection

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// maxDurationFlag is the agent's flag for the longest life of a fault.
const maxDurationFlag = "--max-duration="

// MaxDuration returns the longest life that the agent of a pod gives to a fault; 0 if it
// has no such cap, or if the pod has no agent.
func MaxDuration(pod *corev1.Pod) time.Duration {
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if !isAgent(c) {
			continue
		}
		for _, arg := range c.Args {
			if value, ok := strings.CutPrefix(arg, maxDurationFlag); ok {
				d, _ := time.ParseDuration(value) // the injector wrote it
				return d
			}
		}
	}
	return 0
}

// TokenSecretOf returns the name of the Secret, in the pod's namespace, from which the agent of a
// pod has its token; "" if it asks for none, or if the pod has no agent.
func TokenSecretOf(pod *corev1.Pod) string {
	if !HasAgent(pod) {
		return ""
	}
	for _, v := range pod.Spec.Volumes {
		if v.Name == tokenVolume && v.Secret != nil {
			return v.Secret.SecretName
		}
	}
	return ""
}
