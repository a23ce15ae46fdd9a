package missed

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/injection"
)

// While the state of an agent stays the same, so does what the condition says, whatever
// kubelet says of each try.
func TestConditionStays(t *testing.T) {
	type status = corev1.ContainerStatus
	crashed := func(code int32, message string) corev1.ContainerState {
		state := terminated(time.Now(), message)
		state.Terminated.ExitCode = code
		return state
	}
	for name, statuses := range map[string][]status{
		"an agent that crashes": {
			{RestartCount: 4, State: waiting("CrashLoopBackOff", "back-off 1m20s restarting failed container"), LastTerminationState: crashed(1, "12:00:07 listen: in use")},
			{RestartCount: 5, State: runningSince(time.Now()), LastTerminationState: crashed(1, "12:00:07 listen: in use")},
			{RestartCount: 5, State: crashed(2, "12:01:27 panic"), LastTerminationState: crashed(1, "12:00:07 listen: in use")},
			{RestartCount: 5, State: waiting("CrashLoopBackOff", "back-off 2m40s restarting failed container"), LastTerminationState: crashed(2, "12:01:27 panic")},
			{RestartCount: 6, State: waiting("RunContainerError", "task 3f7a"), LastTerminationState: crashed(128, "task 3f7a")},
		},
		"an image that can't be pulled": {
			{State: waiting("ErrImagePull", "Head https://example.com/v2/: unexpected EOF")},
			{State: waiting("ImagePullBackOff", "Back-off pulling image")},
			{State: waiting("ErrImagePull", "Head https://example.com/v2/: read tcp 10.0.0.1:41234: reset")},
			{State: waiting("RegistryUnavailable", "no such host")},
		},
		"a container that can't be made": {
			{State: waiting("CreateContainerError", "name is reserved for 3f7a")},
			{State: waiting("CreateContainerError", "name is reserved for 90bc")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bad := pod("basic-tikv-0", "basic", injected)
			w := newWorld(t, cluster("basic", "true"), bad)
			var first string
			for i, status := range statuses {
				status.Name = injection.ContainerName
				bad.Status.ContainerStatuses = []corev1.ContainerStatus{status}
				if err := w.client.Status().Update(t.Context(), bad); err != nil {
					t.Fatal(err)
				}
				w.checker.check(t.Context())
				w.wantConditions("basic", operators, "TidelayInjected False agent_not_running")
				if i == 0 {
					first = w.message("basic")
				}
				if got := w.message("basic"); got != first || w.patches != 1 {
					t.Errorf("status %d: %d patches and message %q, want one and still %q", i, w.patches, got, first)
				}
			}
		})
	}
}

// Nor does what can't be checked change the condition with each error.
func TestConditionStaysWhileSomeCanNotBeChecked(t *testing.T) {
	said := map[string]bool{}
	for _, cause := range []string{"read tcp 10.0.0.1:41234: reset", "read tcp 10.0.0.1:52345: reset"} {
		r := Report{Without: []Pod{{Name: "basic-tikv-0", Reason: Missed}}, undecided: []error{errors.New(cause)}}
		said[r.message()] = true
	}
	if len(said) != 1 {
		t.Errorf("messages %v, want one", said)
	}
}
