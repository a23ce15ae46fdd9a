package webhook

import (
	"errors"
	"fmt"
	"regexp"

	corev1 "k8s.io/api/core/v1"
)

// Config is what the injector's operator decides about every agent. Nothing in
// it can be changed by a pod's author.
type Config struct {
	// Image is the agent's image, with a registry, tag or digest as needed.
	Image string
	// PullPolicy is Always, IfNotPresent or Never.
	PullPolicy corev1.PullPolicy
	// Version is the injector's version, for the status annotation.
	Version string
}

// imagePattern accepts every image reference there is, and nothing that a shell
// or JSON would not take literally.
var imagePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`)

// Validate returns every problem of c, each naming the setting by the
// injector's flag, its value and what is accepted.
func (c Config) Validate() error {
	var problems []error
	if !imagePattern.MatchString(c.Image) {
		problems = append(problems, fmt.Errorf("agent-image %q: want an image reference such as tidelay/agent:v1", c.Image))
	}
	switch c.PullPolicy {
	case corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
	default:
		problems = append(problems, fmt.Errorf("agent-image-pull-policy %q: want Always, IfNotPresent or Never", c.PullPolicy))
	}
	return errors.Join(problems...)
}
