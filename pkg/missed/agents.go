package missed

import (
	"fmt"
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

// maxKubeletMessage is the largest number of bytes of kubelet's message that is
// repeated. A registry's answer can be long.
const maxKubeletMessage = 200

// notRunning returns why the agent's container in a pod does not run, in kubelet's
// words, or "" if it runs, is just starting, or if kubelet has not spoken of it yet. A
// pod that can't be scheduled is told too: what the agent asks for may be the cause.
func notRunning(pod *corev1.Pod, now time.Time) string {
	if isUnschedulable(pod, now) {
		return corev1.PodReasonUnschedulable + " for more than " + scheduleTime.String() + "; the pod's Events say why"
	}
	all := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	i := slices.IndexFunc(all, func(s corev1.ContainerStatus) bool { return s.Name == injection.ContainerName })
	if i < 0 {
		return ""
	}
	if last := overAndOver(all[i], now); last != nil {
		return kubeletSays(crashLoop, fmt.Sprintf("exit code %d %s", last.ExitCode, last.Message))
	}
	switch state := all[i].State; {
	case state.Waiting != nil && isStarting(state.Waiting.Reason):
		if since := databaseRunsSince(pod); !since.IsZero() && now.Sub(since) > pullTime {
			return kubeletSays(state.Waiting.Reason, "for more than "+pullTime.String()+" while the other containers run")
		}
	case state.Waiting != nil:
		return kubeletSays(state.Waiting.Reason, state.Waiting.Message)
	case state.Terminated != nil && now.Sub(state.Terminated.FinishedAt.Time) > restartTime:
		return kubeletSays(state.Terminated.Reason, state.Terminated.Message)
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

// crashLoop is kubelet's reason while it waits before the next restart.
const crashLoop = "CrashLoopBackOff"

// overAndOver returns how a container ended last that ends over and over, or nil if it
// does not. It is the same while kubelet waits before a restart and just after it, so
// that the condition does not change with each.
func overAndOver(status corev1.ContainerStatus, now time.Time) *corev1.ContainerStateTerminated {
	state, last := status.State, status.LastTerminationState.Terminated
	often := status.RestartCount >= manyRestarts
	switch {
	case state.Waiting != nil && state.Waiting.Reason == crashLoop:
		return last
	case often && state.Terminated != nil:
		return state.Terminated
	case often && state.Running != nil && now.Sub(state.Running.StartedAt.Time) < stableTime:
		return last
	}
	return nil
}

// canBeAsked reports whether the agent in a pod has run for long enough to answer.
func canBeAsked(pod *corev1.Pod, now time.Time) bool {
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if status.Name == injection.ContainerName {
			return pod.Status.PodIP != "" && status.State.Running != nil && now.Sub(status.State.Running.StartedAt.Time) > restartTime
		}
	}
	return false
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

// kubeletSays returns a reason and a message in one line, cut.
func kubeletSays(reason, message string) string {
	if message = cut(message, maxKubeletMessage); message != "" {
		return reason + ": " + message
	}
	return reason
}
