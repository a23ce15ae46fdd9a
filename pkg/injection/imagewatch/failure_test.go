package imagewatch

import (
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

func config() injection.Config {
	return injection.Config{Image: "tidelay/agent:v2", PullPolicy: corev1.PullIfNotPresent, PullSecrets: []string{"registry"}}
}

// pending returns a pod that was injected as config says and is pending, with an agent
// that waits for a reason.
func pending(name, reason string, changes ...func(*corev1.Pod)) *corev1.Pod {
	status, _ := json.Marshal(injection.Status{Image: config().Image})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "db", Name: name, UID: types.UID("uid of " + name), Labels: tidbcluster.OperatorLabels(),
		Annotations: map[string]string{injection.StatusAnnotation: string(status)},
	}}
	pod.Spec.Containers = []corev1.Container{{Name: "tikv"}, {Name: injection.ContainerName, Image: config().Image, ImagePullPolicy: config().PullPolicy}}
	pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "theirs"}, {Name: "registry"}}
	pod.Status.Phase = corev1.PodPending
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{
		{Name: "tikv", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		{Name: injection.ContainerName, State: waiting(reason)},
	}
	for _, change := range changes {
		change(pod)
	}
	return pod
}

func waiting(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "kubelet's message"}}
}

// native makes the agent of a pod a native sidecar.
func native(pod *corev1.Pod) {
	pod.Spec.InitContainers, pod.Spec.Containers = pod.Spec.Containers[1:], pod.Spec.Containers[:1]
	pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses = pod.Status.ContainerStatuses[1:], pod.Status.ContainerStatuses[:1]
}

func TestFailures(t *testing.T) {
	for _, reason := range []string{
		"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed",
	} {
		got := failures([]corev1.Pod{*pending("basic-tikv-0", reason)}, pullOf(config()))
		if len(got) != 1 || got[0] != (failure{types.NamespacedName{Namespace: "db", Name: "basic-tikv-0"}, "uid of basic-tikv-0", "tidelay/agent:v2", "", reason, "kubelet's message"}) {
			t.Errorf("%s: failures %+v", reason, got)
		}
	}
	for _, reason := range []string{"", "ContainerCreating", "PodInitializing", "CrashLoopBackOff", "CreateContainerError", "CreateContainerConfigError", "RunContainerError"} {
		if got := failures([]corev1.Pod{*pending("basic-tikv-0", reason)}, pullOf(config())); len(got) > 0 {
			t.Errorf("%q: failures %+v", reason, got)
		}
	}
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		want   int
	}{
		"a native sidecar fails":               {native, 1},
		"a mirror is in place of the registry": {func(p *corev1.Pod) { p.Spec.Containers[1].Image = "mirror.example.com/tidelay/agent:v2" }, 1},
		"the plugin AlwaysPullImages is on":    {func(p *corev1.Pod) { p.Spec.Containers[1].ImagePullPolicy = corev1.PullAlways }, 1},

		"the database fails": {func(p *corev1.Pod) {
			p.Status.ContainerStatuses[0].Name, p.Status.ContainerStatuses[1].Name = injection.ContainerName, "tikv"
		}, 0},
		"the agent runs":                        {func(p *corev1.Pod) { p.Status.ContainerStatuses[1].State = p.Status.ContainerStatuses[0].State }, 0},
		"kubelet has said nothing":              {func(p *corev1.Pod) { p.Status.ContainerStatuses = nil }, 0},
		"the pod is being deleted":              {func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }, 0},
		"another image was injected":            {func(p *corev1.Pod) { p.Annotations[injection.StatusAnnotation] = `{"image":"tidelay/agent:v1"}` }, 0},
		"the agent is gone":                     {func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[:1] }, 0},
		"nothing was injected":                  {func(p *corev1.Pod) { p.Annotations = nil }, 0},
		"the annotation is no JSON":             {func(p *corev1.Pod) { p.Annotations[injection.StatusAnnotation] = config().Image }, 0},
		"the pull secret was added later":       {func(p *corev1.Pod) { p.Spec.ImagePullSecrets = p.Spec.ImagePullSecrets[:1] }, 0},
		"it was never to be pulled, and now is": {func(p *corev1.Pod) { p.Spec.Containers[1].ImagePullPolicy = corev1.PullNever }, 0},
		"so was a native sidecar": {func(p *corev1.Pod) {
			native(p)
			p.Spec.InitContainers[0].ImagePullPolicy = corev1.PullNever
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := failures([]corev1.Pod{*pending("basic-tikv-0", "ErrImagePull", test.change)}, pullOf(config())); len(got) != test.want {
				t.Errorf("failures %+v, want %d", got, test.want)
			}
		})
	}
}
