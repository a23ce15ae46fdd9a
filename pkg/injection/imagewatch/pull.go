package imagewatch

import (
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/injection"
)

// pull is how kubelet gets the agent's image.
type pull struct {
	// image is the one that was injected.
	image string
	// never is true if kubelet only looks on the node. The other policies are not told
	// apart, because the API server's plugin AlwaysPullImages replaces them.
	never bool
	// secrets are names of pull secrets.
	secrets []string
}

// pullOf returns how the next pod's image is pulled.
func pullOf(config injection.Config) pull {
	return pull{image: config.Image, never: config.PullPolicy == corev1.PullNever, secrets: config.PullSecrets}
}

// pullOfPod returns how the image of an injected pod is pulled, and false for a pod
// that was not injected. The image that was injected is that of our annotation, or
// without one that of the container. Another
// webhook may have put a mirror of the registry into the container, whose image is
// returned as actual.
func pullOfPod(pod *corev1.Pod) (p pull, actual string, injected bool) {
	var status injection.Status
	known := json.Unmarshal([]byte(pod.Annotations[injection.StatusAnnotation]), &status) == nil
	if !known && !injection.IsInjected(pod) {
		return pull{}, "", false
	}
	p.image = status.Image
	for _, s := range pod.Spec.ImagePullSecrets {
		p.secrets = append(p.secrets, s.Name)
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == injection.ContainerName {
			p.never = c.ImagePullPolicy == corev1.PullNever
			if !known {
				p.image = c.Image
			}
			return p, c.Image, true
		}
	}
	return pull{}, "", false
}

// predicts reports whether next fails if p does: next is the same image, and has no
// secret that p lacks.
func (p pull) predicts(next pull) bool {
	return p.image == next.image && p.never == next.never &&
		!slices.ContainsFunc(next.secrets, func(name string) bool { return !slices.Contains(p.secrets, name) })
}
