package injection

import (
	"cmp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// maxDurationFlag is the agent's flag for the longest life of a fault.
const maxDurationFlag = "--max-duration="

// Agent is the agent of a pod.
type Agent struct {
	Container corev1.Container
	// Status is what kubelet says of the container; the zero value if it says nothing.
	// The container's ID is another one after each start.
	Status corev1.ContainerStatus
	// Attached is whether the container was added to a running pod, and not by the
	// injector. Such a container is never started again.
	Attached bool
}

// HasAgent reports whether pod has an agent, injected or attached, that may or may not run.
func HasAgent(pod *corev1.Pod) bool {
	return IsInjected(pod) || len(Attached(pod)) > 0
}

// IsInjected reports whether pod has an agent that the injector added: a container that
// has our name and keeps its state where our agents do. Annotations don't count, since
// anybody may change those of a running pod.
func IsInjected(pod *corev1.Pod) bool {
	_, is := injected(pod)
	return is
}

// AgentOf returns the agent of a pod. Of several that were attached one after the other it
// is the last one that runs, else the last one that may start yet, else the last one. It
// returns false if pod has none.
func AgentOf(pod *corev1.Pod) (Agent, bool) {
	if c, is := injected(pod); is {
		statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
		return Agent{Container: c, Status: statusOf(statuses, c.Name)}, true
	}
	attached := Attached(pod)
	if len(attached) == 0 {
		return Agent{}, false
	}
	last := attached[len(attached)-1]
	for _, one := range slices.Backward(attached) {
		switch {
		case one.Status.Name != "" && !one.IsDown():
			return one, true
		case last.HasEnded() && !one.HasEnded():
			last = one
		}
	}
	return last, true
}

// Attached returns the agents that were attached to a pod, in that order.
func Attached(pod *corev1.Pod) []Agent {
	var all []Agent
	for _, c := range pod.Spec.EphemeralContainers {
		if isAttached(c) {
			all = append(all, Agent{corev1.Container(c.EphemeralContainerCommon), statusOf(pod.Status.EphemeralContainerStatuses, c.Name), true})
		}
	}
	slices.SortFunc(all, func(a, b Agent) int { // a patch puts new ones anywhere
		return cmp.Or(cmp.Compare(len(a.Container.Name), len(b.Container.Name)), strings.Compare(a.Container.Name, b.Container.Name))
	})
	return all
}

// IsDown reports whether kubelet says that the agent does not run.
func (a Agent) IsDown() bool {
	return a.Status.State.Waiting != nil || a.Status.State.Terminated != nil
}

// HasEnded reports whether kubelet says that the agent has ended and will not run again, as
// one that was attached. An injected agent is started again.
func (a Agent) HasEnded() bool { return a.Attached && a.Status.State.Terminated != nil }

// MaxDuration returns the longest life that the agent gives to a fault; 0 if it has no such
// cap. Who may attach containers writes their arguments: what no agent takes is none.
func (a Agent) MaxDuration() time.Duration {
	for _, arg := range a.Container.Args {
		if value, ok := strings.CutPrefix(arg, maxDurationFlag); ok {
			if d, err := time.ParseDuration(value); err == nil && d >= api.MinDuration {
				return d
			}
		}
	}
	return 0
}

// MaxDuration returns the longest life that the agent of a pod gives to a fault; 0 if it
// has no such cap, or if the pod has no agent.
func MaxDuration(pod *corev1.Pod) time.Duration {
	agent, _ := AgentOf(pod)
	return agent.MaxDuration()
}

// TokenSecretOf returns the name of the Secret, in the pod's namespace, from which the agent of a
// pod has its token; "" if it asks for none, as one that was attached, or if the pod has no agent.
func TokenSecretOf(pod *corev1.Pod) string {
	if !IsInjected(pod) {
		return ""
	}
	for _, v := range pod.Spec.Volumes {
		if v.Name == tokenVolume && v.Secret != nil {
			return v.Secret.SecretName
		}
	}
	return ""
}

// injected returns the agent's container that the injector added to pod.
func injected(pod *corev1.Pod) (corev1.Container, bool) {
	if i := slices.IndexFunc(pod.Spec.Containers, isAgent); i >= 0 {
		return pod.Spec.Containers[i], true
	}
	i := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return isAgent(c) && isNative(c) })
	if i < 0 {
		return corev1.Container{}, false
	}
	return pod.Spec.InitContainers[i], true
}

func isAgent(c corev1.Container) bool {
	return c.Name == ContainerName && slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == stateVolume })
}

func statusOf(statuses []corev1.ContainerStatus, name string) corev1.ContainerStatus {
	i := slices.IndexFunc(statuses, func(s corev1.ContainerStatus) bool { return s.Name == name })
	if i < 0 {
		return corev1.ContainerStatus{}
	}
	return statuses[i]
}
