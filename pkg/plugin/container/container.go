// Package container says how the container of an agent is in its pod, as kubelet has it. All
// verbs say it in these words.
//
// The package is pure.
package container

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// Kind is the way in which an agent is in its pod.
type Kind string

// The kinds.
const (
	// Sidecar is a container beside the database's.
	Sidecar Kind = "sidecar"
	// Native is a native sidecar: an init container that goes on.
	Native Kind = "native"
	// Attached is an ephemeral container, which is never started again.
	Attached Kind = "attached"
)

// Phase is how a container is.
type Phase int

// The phases.
const (
	// Starting: kubelet has not started it yet, or has not spoken of it.
	Starting Phase = iota
	// Running: its process runs.
	Running
	// Down: it can't be started, or has ended. kubelet may go on trying.
	Down
)

// Agent is the container of an agent.
type Agent struct {
	injection.Agent
	Kind Kind
}

// Of returns the agent of a pod. Of several that were attached one after the other it is the
// last one that runs, else the last one. It returns false if the pod has none.
func Of(pod *corev1.Pod) (Agent, bool) {
	agent, has := injection.AgentOf(pod)
	isNative := func(c corev1.Container) bool { return c.Name == injection.ContainerName }
	switch {
	case agent.Attached:
		return Agent{agent, Attached}, has
	case slices.ContainsFunc(pod.Spec.InitContainers, isNative):
		return Agent{agent, Native}, has
	default:
		return Agent{agent, Sidecar}, has
	}
}

// Named returns the agent of a name that was attached to a pod. It is Starting if the pod has
// none of that name.
func Named(pod *corev1.Pod, name string) Agent {
	for _, agent := range injection.Attached(pod) {
		if agent.Container.Name == name {
			return Agent{agent, Attached}
		}
	}
	return Agent{Kind: Attached}
}

// Phase returns how the container is.
func (a Agent) Phase() Phase {
	switch s := a.Status.State; {
	case s.Running != nil:
		return Running
	case s.Terminated != nil:
		return Down
	case s.Waiting != nil && !slices.Contains([]string{"", "ContainerCreating", "PodInitializing"}, s.Waiting.Reason):
		return Down
	default:
		return Starting
	}
}

// HasRun reports whether the agent has run and does not run now, so that the kernel may have
// what it held.
func (a Agent) HasRun() bool {
	return a.Status.State.Running == nil && (a.Status.State.Terminated != nil || a.Status.LastTerminationState.Terminated != nil)
}

// Word says how the container is in a word, kubelet's if it does not run: "running",
// "CrashLoopBackOff", "OOMKilled". It is "unknown" if kubelet has not spoken of it.
func (a Agent) Word() string {
	switch s := a.Status.State; {
	case s.Running != nil:
		return "running"
	case s.Waiting != nil:
		return cmp.Or(s.Waiting.Reason, "waiting")
	case s.Terminated != nil:
		return cmp.Or(s.Terminated.Reason, "ended")
	default:
		return "unknown"
	}
}

// Words says how the container is, after its name or "it": "is starting", "runs", "is not
// started: ErrImagePull (...)", "ended: OOMKilled, exit status 137".
func (a Agent) Words() string {
	switch s := a.Status.State; {
	case a.Phase() == Running:
		return "runs"
	case a.Phase() == Starting:
		return "is starting"
	case s.Waiting != nil:
		return withMessage("is not started: "+s.Waiting.Reason, s.Waiting.Message)
	default:
		return withMessage(fmt.Sprintf("ended: %s, exit status %d", cmp.Or(s.Terminated.Reason, "no reason"), s.Terminated.ExitCode), s.Terminated.Message)
	}
}

func withMessage(text, message string) string {
	if message = brief(message); message == "" {
		return text
	}
	return fmt.Sprintf("%s (%.200s)", text, message)
}

// Has says what agent a pod has, and how it is: "attached, longest life of a fault 30m",
// "injected; it is not started: CrashLoopBackOff".
func (a Agent) Has() string {
	text := "injected"
	if a.Kind == Attached {
		text = "attached"
	}
	if longest := a.MaxDuration(); longest > 0 {
		text += ", longest life of a fault " + object.Short(longest)
	}
	if a.Phase() != Running {
		text += "; it " + a.Words()
	}
	return text
}

// Leaves says what an attached agent leaves that has ended.
const Leaves = "what it held by netem may be in force until another one is attached, or the pod is deleted"

// Lost says which attached agent of a pod has ended, and how, if no other one runs there; else
// it returns "". It Leaves what it held.
func Lost(pod *corev1.Pod) string {
	if agent, _ := Of(pod); agent.Phase() == Running {
		return ""
	}
	for _, agent := range slices.Backward(injection.Attached(pod)) {
		if agent.Status.State.Terminated != nil {
			return agent.Container.Name + " " + Agent{agent, Attached}.Words()
		}
	}
	return ""
}
