package missed

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/injection"
)

// How long the agent's container may be in a state through which it goes when all is
// well. The check comes every half minute, so that a person hears of it within a
// minute.
const (
	// restartTime is for a container that has ended and that kubelet starts again.
	restartTime = 20 * time.Second
	// pullTime is for a container that kubelet is making while the database runs,
	// mostly because it pulls the agent's image.
	pullTime = time.Minute
	// stableTime is for a container that runs again after manyRestarts.
	stableTime   = time.Minute
	manyRestarts = 3
	// scheduleTime is for a pod that no node has room for.
	scheduleTime = time.Minute
)

// Reasons of kubelet's (pkg/kubelet/container/sync_result.go, pkg/kubelet/images/types.go).
const (
	// crashLoop is for a container that ends again and again, while kubelet waits before
	// the next start.
	crashLoop = "CrashLoopBackOff"
	// runError is for one that can't be started.
	runError = "RunContainerError"
	// pullBackOff is for one whose image can't be pulled, while kubelet waits before the
	// next try.
	pullBackOff = "ImagePullBackOff"
)

// notRunning returns why the agent's container in a pod does not run, by kubelet's reason,
// or "" if it runs, is just starting, or if kubelet has not spoken of it yet. A pod that
// can't be scheduled is told too: what the agent asks for may be the cause.
//
// The text stays the same for as long as the cause does, because the condition is written
// when it changes. So kubelet's messages and what the agent wrote last are left out: they
// change with each try.
func notRunning(pod *corev1.Pod, now time.Time) string {
	if isUnschedulable(pod, now) {
		return corev1.PodReasonUnschedulable + " for more than " + scheduleTime.String() + "; the pod's Events say why"
	}
	agent, _ := injection.AgentOf(pod)
	if endsAgainAndAgain(agent.Status, now) {
		return crashLoop
	}
	switch state := agent.Status.State; {
	case state.Waiting != nil && isStarting(state.Waiting.Reason):
		if since := databaseRunsSince(pod); !since.IsZero() && now.Sub(since) > pullTime {
			return "being made for more than " + pullTime.String() + " while the other containers run"
		}
	case state.Waiting != nil && isPull(state.Waiting.Reason):
		return pullBackOff + " of " + agent.Container.Image
	case state.Waiting != nil:
		return state.Waiting.Reason
	case state.Terminated != nil && agent.Attached:
		return "attached, and ended: " + state.Terminated.Reason
	case state.Terminated != nil && now.Sub(state.Terminated.FinishedAt.Time) > restartTime:
		return "ended and not started again: " + state.Terminated.Reason
	}
	return ""
}

// isUnschedulable reports whether the scheduler has found no node for a pod for a while.
// Its own words are left out, because they change with every node and pod.
func isUnschedulable(pod *corev1.Pod, now time.Time) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable &&
			now.Sub(c.LastTransitionTime.Time) > scheduleTime
	})
}

// endsAgainAndAgain reports whether a container does. It is the same while kubelet waits
// before a restart and just after it.
func endsAgainAndAgain(status corev1.ContainerStatus, now time.Time) bool {
	state, often := status.State, status.RestartCount >= manyRestarts
	switch {
	case state.Waiting != nil:
		return state.Waiting.Reason == crashLoop || often && state.Waiting.Reason == runError
	case state.Running != nil:
		return often && now.Sub(state.Running.StartedAt.Time) < stableTime
	default:
		return often && state.Terminated != nil
	}
}

// isPull reports whether kubelet gives a waiting container this reason in turn with
// pullBackOff: the errors of a pull in k8s.io/cri-api/pkg/errors.
func isPull(reason string) bool {
	return slices.Contains([]string{pullBackOff, "ErrImagePull", "RegistryUnavailable", "SignatureValidationFailed"}, reason)
}

// canBeAsked reports whether the agent in a pod has run for long enough to answer.
func canBeAsked(pod *corev1.Pod, now time.Time) bool {
	agent, _ := injection.AgentOf(pod)
	running := agent.Status.State.Running
	return pod.Status.PodIP != "" && running != nil && now.Sub(running.StartedAt.Time) > restartTime
}

// isStarting reports whether kubelet gives a waiting container this reason while all
// is well (pkg/kubelet/kubelet_pods.go, convertToAPIContainerStatuses).
func isStarting(reason string) bool {
	return reason == "" || reason == "ContainerCreating" || reason == "PodInitializing"
}

// databaseRunsSince returns the time since when all containers of a pod run but the
// agent, or zero if one does not.
func databaseRunsSince(pod *corev1.Pod) time.Time {
	var since time.Time
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == injection.ContainerName {
			continue
		}
		if status.State.Running == nil {
			return time.Time{}
		}
		if started := status.State.Running.StartedAt.Time; started.After(since) {
			since = started
		}
	}
	return since
}
