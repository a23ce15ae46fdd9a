//go:build apiserver

package apiserver

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// The configuration file is followed while the injector runs, and one that
// makes no sense changes nothing.
func TestConfigurationIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write := func(content string) {
		t.Helper()
		must(t, os.WriteFile(path, []byte(content), 0o600))
	}
	write("agent: {}")
	r := newReplica(t, "--config="+path)
	lend(t, r)
	inject := func(a annotations) admission {
		n := newNamespace(t)
		got := n.admit(n.tikv(a))
		got.wants(t, "injected", "tikv")
		return got
	}
	if agent := inject(optedIn()).agent(t); agent.Image != world.agentImage(t) || slices.ContainsFunc(agent.Args, isMaxDuration) {
		t.Errorf("no setting gives image %s with %q", agent.Image, agent.Args)
	}

	loaded := func() float64 {
		return r.scrape(t, "tidelay_config_last_reload_success_timestamp_seconds")[0].GetGauge().GetValue()
	}
	started := loaded()
	write(`{"agent": {"imagePullPolicy": "Always", "maxDuration": "1h", "imagePullSecrets": ["registry"], "tokenSecret": "token"}}`)
	eventually(t, 20*time.Second, func() error {
		if now := loaded(); now == started {
			return errors.New("the new file is not seen")
		}
		return nil
	})
	got := inject(optedIn())
	agent := got.agent(t)
	if agent.ImagePullPolicy != corev1.PullAlways || !slices.Contains(agent.Args, "--max-duration=1h0m0s") || !slices.Contains(agent.Args, "--token-file=/etc/tidelay/token") {
		t.Errorf("pull policy %s, arguments %q", agent.ImagePullPolicy, agent.Args)
	}
	if secret := (corev1.LocalObjectReference{Name: "registry"}); !slices.Contains(got.pod.Spec.ImagePullSecrets, secret) {
		t.Errorf("pull secrets are %v", got.pod.Spec.ImagePullSecrets)
	}
	token := slices.IndexFunc(got.pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == "token" })
	if token < 0 || !*got.pod.Spec.Volumes[token].Secret.Optional {
		t.Errorf("volumes are %v, want the token's, which may be missing", got.pod.Spec.Volumes)
	}

	narrower := optedIn()
	narrower["tidelay.io/max-duration"] = "5m"
	if agent := inject(narrower).agent(t); !slices.Contains(agent.Args, "--max-duration=5m0s") {
		t.Errorf("with an annotation the arguments are %q", agent.Args)
	}

	// The image is not changed without a rollout, which tries it first.
	write("agent: {imagePullPolicy: Never, image: example.com/agent:new}")
	eventually(t, 20*time.Second, func() error {
		if good := r.scrape(t, "tidelay_config_last_reload_successful")[0].GetGauge().GetValue(); good != 0 {
			return errors.New("a bad file is not seen")
		}
		return nil
	})
	if agent := inject(optedIn()).agent(t); agent.Image != world.agentImage(t) || agent.ImagePullPolicy != corev1.PullAlways {
		t.Errorf("with a bad file the image is %s, pulled %s", agent.Image, agent.ImagePullPolicy)
	}
}

func isMaxDuration(arg string) bool { return strings.HasPrefix(arg, "--max-duration=") }
