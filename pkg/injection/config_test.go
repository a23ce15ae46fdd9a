package injection

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestIsImage(t *testing.T) {
	for image, want := range map[string]bool{
		"tidelay/agent:v1": true, "localhost:5000/a/b": true, "registry.example.com/a@sha256:0123456789abcdef": true,
		"": false, "$(AGENT_IMAGE)": false, "a`id`": false, "-a": false,
	} {
		if got := IsImage(image); got != want {
			t.Errorf("IsImage(%q) is %t", image, got)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	quantities := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	tests := map[string]struct {
		change func(*Config)
		want   []string // what the error must say; nothing for none
	}{
		"the default":         {change: func(*Config) {}},
		"a pull policy":       {change: func(c *Config) { c.PullPolicy = "never" }, want: []string{`agent.imagePullPolicy "never": want Always, IfNotPresent or Never`}},
		"pull secrets":        {change: func(c *Config) { c.PullSecrets = []string{"a", "b.c"} }},
		"bad pull secrets":    {change: func(c *Config) { c.PullSecrets = []string{"a", "A b", "a"} }, want: []string{`agent.imagePullSecrets[1] "A b"`, `agent.imagePullSecrets[2] "a"`}},
		"a token":             {change: func(c *Config) { c.TokenSecret = "tidelay-token" }},
		"a token's path":      {change: func(c *Config) { c.TokenSecret = "a/b" }, want: []string{`agent.tokenSecret "a/b"`}},
		"an hour":             {change: func(c *Config) { c.MaxDuration = time.Hour }},
		"a short duration":    {change: func(c *Config) { c.MaxDuration = time.Millisecond }, want: []string{`agent.maxDuration "1ms": want from 1s to 720h0m0s`}},
		"a negative duration": {change: func(c *Config) { c.MaxDuration = -time.Hour }, want: []string{`agent.maxDuration "-1h0m0s"`}},
		"little memory": {change: func(c *Config) {
			c.Resources.Requests, c.Resources.Limits = quantities("1m", "1Mi"), quantities("1m", "2Mi")
		}, want: []string{`agent.resources.limits.memory "2Mi": want at least 32Mi`}},
		"more than the limit": {change: func(c *Config) { c.Resources.Requests = quantities("1", "1Gi") }, want: []string{`agent.resources.limits.cpu "500m": want at least the request, 1`, `agent.resources.limits.memory "128Mi": want at least the request, 1Gi`}},
		"no CPU":              {change: func(c *Config) { c.Resources.Requests = quantities("0", "32Mi") }, want: []string{`agent.resources.requests.cpu "0": want more than 0`}},
		"another resource": {change: func(c *Config) {
			c.Resources.Limits = quantities("1", "1Gi")
			c.Resources.Limits["nvidia.com/gpu"] = resource.MustParse("1")
		}, want: []string{`agent.resources.limits.nvidia.com/gpu "1": want cpu and memory only`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := testConfig
			test.change(&c)
			err := c.Validate()
			if len(test.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || strings.Count(err.Error(), "\n")+1 != len(test.want) {
				t.Fatalf("error %v, want %d problems", err, len(test.want))
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %v does not say %s", err, want)
				}
			}
		})
	}
}

// TestConfigReachesTheAgent has every setting that the defaults leave out.
func TestConfigReachesTheAgent(t *testing.T) {
	c := testConfig
	c.PullSecrets, c.TokenSecret, c.MaxDuration = []string{"there", "new"}, "tidelay-token", time.Hour
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("64Mi")}
	pod := tikv(func(p *corev1.Pod) { p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "there"}} })
	member := optedIn()

	agent := c.container(pod, c.MaxDuration)
	if want := []string{"--state-dir=/run/tidelay", "--max-duration=1h0m0s", "--token-file=/etc/tidelay/token"}; !slices.Equal(agent.Args, want) {
		t.Errorf("arguments %q, want %q", agent.Args, want)
	}
	if agent.Env[0].Value != "48MiB" {
		t.Errorf("GOMEMLIMIT %s, want three quarters of the limit", agent.Env[0].Value)
	}
	var token corev1.VolumeSource
	var secrets []any
	for _, o := range c.Decide(pod, member, Facts{}).Patch {
		if v, ok := o.Value.(corev1.Volume); ok && v.Name == tokenVolume {
			token = v.VolumeSource
		}
		if strings.HasPrefix(o.Path, "/spec/imagePullSecrets") {
			secrets = append(secrets, o.Value)
		}
	}
	want := &corev1.SecretVolumeSource{SecretName: "tidelay-token", Items: []corev1.KeyToPath{{Key: "token", Path: "token"}}, DefaultMode: new(int32(0o400)), Optional: new(true)}
	if diff := cmp.Diff(want, token.Secret); diff != "" {
		t.Errorf("the token's volume (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{corev1.LocalObjectReference{Name: "new"}}, secrets); diff != "" {
		t.Errorf("added pull secrets (-want +got):\n%s", diff)
	}

	member.OptIn.MaxDuration = time.Minute // the TidbCluster's own word
	patch := c.Decide(pod, member, Facts{}).Patch
	if agent := patch[len(patch)-1].Value.(corev1.Container); !slices.Contains(agent.Args, "--max-duration=1m0s") {
		t.Errorf("arguments %q have another duration than the TidbCluster asks for", agent.Args)
	}
}
