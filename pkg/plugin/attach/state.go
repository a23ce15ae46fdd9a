package attach

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// State is how a container that was attached is.
type State int

// The states.
const (
	// Starting: kubelet has not started it yet.
	Starting State = iota
	// Running: its process runs.
	Running
	// Failed: it can't be started, or has ended. kubelet may go on trying to pull an image.
	Failed
)

// StateOf returns how the container of a name is that was attached to a pod, and kubelet's
// words if it failed.
func StateOf(pod *corev1.Pod, name string) (State, string) {
	i := slices.IndexFunc(pod.Status.EphemeralContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == name })
	if i < 0 {
		return Starting, ""
	}
	switch s := pod.Status.EphemeralContainerStatuses[i]; {
	case isOver(s):
		return Failed, end(s)
	case s.State.Running != nil:
		return Running, ""
	default:
		return Starting, ""
	}
}

// isOver reports whether an attached container has ended, or can't be started.
func isOver(s corev1.ContainerStatus) bool {
	if w := s.State.Waiting; w != nil {
		return !slices.Contains([]string{"", "ContainerCreating", "PodInitializing"}, w.Reason)
	}
	return s.State.Terminated != nil
}

// end says in kubelet's words how a container ended, or why it can't be started.
func end(s corev1.ContainerStatus) string {
	if w := s.State.Waiting; w != nil {
		return withMessage("is not started: "+w.Reason, w.Message)
	}
	t := s.State.Terminated
	return withMessage(fmt.Sprintf("ended: %s, exit status %d", t.Reason, t.ExitCode), t.Message)
}

func withMessage(text, message string) string {
	if message == "" {
		return text
	}
	return fmt.Sprintf("%s (%.200s)", text, message)
}

// words says how the agent of a pod is.
func words(agent injection.Agent) string {
	switch {
	case agent.Attached && isOver(agent.Status):
		return agent.Container.Name + " " + end(agent.Status)
	case !agent.Attached && agent.IsDown():
		return "injected, and it does not run"
	case !agent.Attached:
		return "injected"
	case agent.Status.State.Running == nil:
		return "attached, and starting"
	default:
		return "attached, longest life of a fault " + object.Short(agent.MaxDuration())
	}
}

// Lost says which attached agent of a pod has ended, and how, if no other one runs there; else
// it returns "". What that one held by netem may still be in force.
func Lost(pod *corev1.Pod) string {
	if agent, _ := injection.AgentOf(pod); agent.Status.State.Running != nil {
		return ""
	}
	for _, agent := range slices.Backward(injection.Attached(pod)) {
		if agent.Status.State.Terminated != nil {
			return agent.Container.Name + " " + end(agent.Status)
		}
	}
	return ""
}
