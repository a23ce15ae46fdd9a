//go:build apiserver

package apiserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Once kubelet says of one pod that it can't pull the agent's image, the next pods of
// every cluster are made without the agent, are told so and are not called missed.
// When that pod has its image, pods are injected again.
func TestImageIsNotPulled(t *testing.T) {
	// Of this test alone, so that no other one is kept from injecting.
	image := []string{"--agent-image=registry.example.com/agent:broken", "--image-check=1s"}
	r := newReplica(t, image...)
	lend(t, r)
	n, other := newNamespace(t), newNamespace(t)
	set := n.statefulSet("basic-tikv", n.cluster("basic", optedIn()))
	waits := n.admit(n.pod("basic-tikv-0", "tikv", set))
	waits.wants(t, "injected", "tikv")
	n.setAgentState(waits.pod, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
		Reason: "ImagePullBackOff", Message: `Back-off pulling image "registry.example.com/agent:broken": 404 Not Found`,
	}})
	r.untilImageUnavailable(t, 1)

	const problem = "image registry.example.com/agent:broken can't be pulled on pod %s/basic-tikv-0 (ImagePullBackOff: Back-off pulling image"
	got := n.admit(n.pod("basic-tikv-1", "tikv", set))
	got.wants(t, "image_unavailable", "tikv")
	want := fmt.Sprintf(problem, n.name)
	if len(got.warnings) != 1 || !strings.Contains(got.warnings[0], want) {
		t.Errorf("warnings %q, want one that says %s", got.warnings, want)
	}
	if event := n.eventOn("pod basic-tikv-1 (tikv): " + want); event.Type != corev1.EventTypeWarning || event.Reason != "image_unavailable" || event.Regarding.Name != "basic" {
		t.Errorf("%s Event %s about %s", event.Type, event.Reason, event.Regarding.Name)
	}
	other.admit(other.tikv(optedIn())).wants(t, "image_unavailable", "tikv")

	controller, err := world.startProcess(t.Context(), controllerName, append(image, "--missed-check=1s")...)
	must(t, err)
	t.Cleanup(controller.kill)
	other.hasCondition("basic", "False image_unavailable")
	if missed := controller.missed(t, other.name); missed != 0 {
		t.Errorf("tidelay_missed_pods is %v, want 0", missed)
	}

	n.setAgentState(waits.pod, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
	r.untilImageUnavailable(t, 0)
	n.admit(n.pod("basic-tikv-2", "tikv", set)).wants(t, "injected", "tikv")
	other.hasCondition("basic", "False missed")
}

// setAgentState writes the status of a pod's agent, as kubelet does.
func (n namespace) setAgentState(pod *corev1.Pod, state corev1.ContainerState) {
	n.t.Helper()
	pod.Status.Phase = corev1.PodPending
	if state.Running != nil {
		pod.Status.Phase = corev1.PodRunning
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: agentName, State: state}}
	must(n.t, world.client.Status().Update(n.t.Context(), pod))
}

// untilImageUnavailable waits until tidelay_image_unavailable is want.
func (p *process) untilImageUnavailable(t *testing.T, want float64) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		if got := p.scrape(t, "tidelay_image_unavailable")[0].GetGauge().GetValue(); got != want {
			return fmt.Errorf("tidelay_image_unavailable is %v, want %v", got, want)
		}
		return nil
	})
}
