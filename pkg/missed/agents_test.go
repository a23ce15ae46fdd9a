package missed

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/injection"
)

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func runningSince(at time.Time) corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(at)}}
}

func terminated(at time.Time, message string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: message, FinishedAt: metav1.NewTime(at)}}
}

// A pod without a node runs no agent, whatever the cause.
func TestUnschedulable(t *testing.T) {
	now := time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		condition corev1.PodCondition
		want      string
	}{
		{corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable}, "Unschedulable for more than 1m0s; the pod's Events say why"},
		{corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonSchedulingGated}, ""},
		{corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, ""},
		{corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable}, ""},
	} {
		for age, want := range map[time.Duration]string{scheduleTime: "", scheduleTime + time.Second: test.want} {
			test.condition.LastTransitionTime = metav1.NewTime(now.Add(-age))
			pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{test.condition}}}
			if got := notRunning(pod, now); got != want {
				t.Errorf("%s %s %s for %s: %q, want %q", test.condition.Type, test.condition.Status, test.condition.Reason, age, got, want)
			}
		}
	}
}

func TestNotRunning(t *testing.T) {
	now := time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	tests := map[string]struct {
		agent    corev1.ContainerState
		last     corev1.ContainerState
		restarts int32
		database corev1.ContainerState // running for an hour unless set
		want     string
	}{
		"if it runs, nothing":                            {agent: runningSince(ago(0))},
		"if it runs again, nothing":                      {agent: runningSince(ago(0)), restarts: 1, last: terminated(ago(time.Second), "")},
		"if nobody has spoken of it, nothing":            {},
		"if it is being made, nothing":                   {agent: waiting("ContainerCreating", ""), database: runningSince(ago(50 * time.Second))},
		"if the pod is being made, nothing":              {agent: waiting("ContainerCreating", ""), database: waiting("ContainerCreating", "")},
		"if init containers run, nothing":                {agent: waiting("PodInitializing", ""), database: waiting("PodInitializing", "")},
		"if it just ended, nothing":                      {agent: terminated(ago(19*time.Second), "")},
		"if it has run for long after restarts, nothing": {agent: runningSince(ago(time.Minute)), restarts: 9, last: terminated(ago(time.Minute), "")},

		"if it is made for long while the database runs, that": {agent: waiting("ContainerCreating", ""), want: "being made for more than 1m0s while the other containers run"},
		"if its image can't be pulled, that": {
			agent: waiting("ImagePullBackOff", "Back-off pulling image \"a\""), database: waiting("PodInitializing", ""), want: "ImagePullBackOff of tidelay/agent:v1",
		},
		"if its image was just refused, the same":       {agent: waiting("ErrImagePull", "unexpected EOF"), want: "ImagePullBackOff of tidelay/agent:v1"},
		"if the registry is away, the same":             {agent: waiting("RegistryUnavailable", "timeout"), want: "ImagePullBackOff of tidelay/agent:v1"},
		"if its signature is bad, the same":             {agent: waiting("SignatureValidationFailed", "no"), want: "ImagePullBackOff of tidelay/agent:v1"},
		"if its image may not be pulled, that":          {agent: waiting("ErrImageNeverPull", "not present"), want: "ErrImageNeverPull"},
		"if it can't be made, kubelet's reason":         {agent: waiting("CreateContainerConfigError", "secret not found"), want: "CreateContainerConfigError"},
		"if it can't be started, kubelet's reason":      {agent: waiting("RunContainerError", "task 3f7a"), want: "RunContainerError"},
		"if it can't be started again and again":        {agent: waiting("RunContainerError", "task 3f7a"), restarts: 4, want: "CrashLoopBackOff"},
		"if it crashes, that":                           {agent: waiting("CrashLoopBackOff", "back-off 40s"), restarts: 4, last: terminated(ago(time.Second), "listen: in use"), want: "CrashLoopBackOff"},
		"if it crashes and runs for a moment, the same": {agent: runningSince(ago(time.Second)), restarts: 4, last: terminated(ago(time.Minute), "listen: in use"), want: "CrashLoopBackOff"},
		"if it has just crashed again, the same":        {agent: terminated(ago(0), "listen: in use"), restarts: 4, last: terminated(ago(time.Minute), "old"), want: "CrashLoopBackOff"},
		"if it crashes and nothing more is known, that": {agent: waiting("CrashLoopBackOff", "back-off 10s"), want: "CrashLoopBackOff"},
		"if it crashed before and has no image, that":   {agent: waiting("ErrImagePull", ""), restarts: 4, last: terminated(ago(time.Minute), ""), want: "ImagePullBackOff of tidelay/agent:v1"},
		"if it ended and is not started, that":          {agent: terminated(ago(21*time.Second), "killed"), want: "ended and not started again: Error"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.database == (corev1.ContainerState{}) {
				test.database = runningSince(ago(time.Hour))
			}
			agent := corev1.ContainerStatus{Name: injection.ContainerName, State: test.agent, LastTerminationState: test.last, RestartCount: test.restarts}
			database := corev1.ContainerStatus{Name: "tikv", State: test.database}
			containers := []corev1.Container{{Name: "tikv", Image: "pingcap/tikv"}, injectedContainer()}
			beside := &corev1.Pod{
				Spec:   corev1.PodSpec{Containers: containers},
				Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{database, agent}},
			}
			if got := notRunning(beside, now); got != test.want {
				t.Errorf("as a container: %q, want %q", got, test.want)
			}
			before := &corev1.Pod{
				Spec:   corev1.PodSpec{InitContainers: []corev1.Container{nativeContainer()}, Containers: containers[:1]},
				Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{agent}, ContainerStatuses: []corev1.ContainerStatus{database}},
			}
			if got := notRunning(before, now); got != test.want {
				t.Errorf("as a native sidecar: %q, want %q", got, test.want)
			}
		})
	}
	if got := notRunning(&corev1.Pod{}, now); got != "" {
		t.Errorf("of a pod without statuses: %q", got)
	}
}
