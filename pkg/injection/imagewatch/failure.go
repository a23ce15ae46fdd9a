package imagewatch

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/injection"
)

// failure is a pod whose agent waits for an image that kubelet can't pull.
type failure struct {
	pod types.NamespacedName
	uid types.UID
	// image is the one that kubelet pulls.
	image string
	// namespace is where the next pods fail as well: everywhere, as "", or for an image
	// that was put in place of the injected one only in the namespace of the pod. What
	// replaced it there may not do so elsewhere.
	namespace string
	// reason and message are kubelet's.
	reason, message string
}

// failures returns those of pods whose agent waits for an image that can't be pulled,
// so that next fails too. A pod that is being deleted does not count: on a lost node it
// stays as it is until somebody removes it.
func failures(pods []corev1.Pod, next pull) []failure {
	var all []failure
	for i := range pods {
		pod := &pods[i]
		status := agentStatus(pod)
		if status == nil || status.State.Waiting == nil || !isPullFailure(status.State.Waiting.Reason) || !pod.DeletionTimestamp.IsZero() {
			continue
		}
		p, actual, injected := pullOfPod(pod)
		if !injected || !p.predicts(next) {
			continue
		}
		f := failure{
			pod: types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}, uid: pod.UID, image: actual,
			reason: status.State.Waiting.Reason, message: status.State.Waiting.Message,
		}
		if actual != p.image {
			f.namespace = pod.Namespace
		}
		all = append(all, f)
	}
	return all
}

// isPullFailure reports whether kubelet says by a reason that it can't get an image:
// the errors of pkg/kubelet/images/types.go, and those of a pull in
// k8s.io/cri-api/pkg/errors.
func isPullFailure(reason string) bool {
	switch reason {
	case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError",
		"RegistryUnavailable", "SignatureValidationFailed":
		return true
	default:
		return false
	}
}

// hasImage reports whether the agent of pod runs or has run, so that its image was
// there.
func hasImage(pod *corev1.Pod) bool {
	s := agentStatus(pod)
	return s != nil && (s.State.Running != nil || s.State.Terminated != nil || s.LastTerminationState.Terminated != nil)
}

// agentStatus returns the status of the agent's container, or nil if there is none.
func agentStatus(pod *corev1.Pod) *corev1.ContainerStatus {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range statuses {
			if statuses[i].Name == injection.ContainerName {
				return &statuses[i]
			}
		}
	}
	return nil
}
