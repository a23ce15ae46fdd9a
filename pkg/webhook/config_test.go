package webhook

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestConfigValidate(t *testing.T) {
	for _, image := range []string{"tidelay/agent:v1", "localhost:5000/a/b", "registry.example.com/a@sha256:0123456789abcdef", "a"} {
		if err := (Config{Image: image, PullPolicy: corev1.PullAlways}).Validate(); err != nil {
			t.Errorf("image %q: %v", image, err)
		}
	}
	for _, image := range []string{"", "$(AGENT_IMAGE)", "a b", "a`id`", "-a", "a\n"} {
		if err := (Config{Image: image, PullPolicy: corev1.PullAlways}).Validate(); err == nil || !strings.Contains(err.Error(), "agent-image ") {
			t.Errorf("image %q: error %v, want one that names the flag", image, err)
		}
	}
	if err := (Config{Image: "a", PullPolicy: "never"}).Validate(); err == nil || !strings.Contains(err.Error(), `"never": want Always, IfNotPresent or Never`) {
		t.Errorf("pull policy: error %v, want one that names what is accepted", err)
	}
}
