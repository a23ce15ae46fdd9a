package webhook

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

func asksForNative() tidbcluster.Membership {
	return memberOf("tidelay.io/inject", "true", "tidelay.io/sidecar", "native")
}

func TestNative(t *testing.T) {
	tests := map[string]struct {
		kubernetes, operator string
		container            bool // asked for
		want                 bool
		problem              string // contained
	}{
		"if both know it, native":                            {kubernetes: "v1.29.0", operator: "v1.6.0", want: true},
		"if a vendor names its build, native":                {kubernetes: "v1.29.1-gke.1589000", operator: "v1.6.5", want: true},
		"if the operator's version is unknown, native":       {kubernetes: "v1.34.4", want: true},
		"if the operator is a nightly build, native":         {kubernetes: "v1.34.4", operator: "nightly", want: true},
		"if nobody asks, a container":                        {kubernetes: "v1.34.4", operator: "v1.6.0", container: true},
		"if the API server is older, a container, and why":   {kubernetes: "v1.28.15", operator: "v1.6.0", problem: "the API server is v1.28.15; accepted: v1.29.0"},
		"if the API server is unknown, a container, and why": {operator: "v1.6.0", problem: "not known yet"},
		"if the operator is older, a container, and why":     {kubernetes: "v1.34.4", operator: "v1.5.3", problem: "TiDB Operator is v1.5.3; accepted: v1.6.0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			config, member, facts := testConfig, asksForNative(), Facts{Operator: test.operator}
			if test.container {
				member = optedIn()
			}
			if test.kubernetes != "" {
				config.Kubernetes = version.MustParseSemantic(test.kubernetes)
			}
			d := config.Decide(tikv(nil), member, facts)
			last := d.Patch[len(d.Patch)-1]
			agent := last.Value.(corev1.Container)
			if native := last.Path == "/spec/initContainers/-"; native != test.want || restarts(agent) != test.want {
				t.Errorf("the agent is added at %s with restartPolicy %v, want native: %t", last.Path, agent.RestartPolicy, test.want)
			}
			if got := strings.Join(d.Problems, "; "); !strings.Contains(got, test.problem) || (got == "") != (test.problem == "") {
				t.Errorf("problems %q, want %q", got, test.problem)
			}
		})
	}
}

// TiFlash has an init container of its own, which goes before the agent.
func TestGoldenNative(t *testing.T) {
	config, member := testConfig, asksForNative()
	config.Kubernetes, member.Component = version.MustParseSemantic("1.34.4"), tidbcluster.TiFlash
	in := readFile(t, "testdata/tiflash/in.yaml")
	got := injectBy(t, config, member, in)
	checkGolden(t, "testdata/tiflash/native.yaml", got)
	after := decode(t, got)
	if inits := after.Spec.InitContainers; inits[len(inits)-1].Name != ContainerName || !restarts(inits[len(inits)-1]) {
		t.Error("the last init container is not the agent, or does not restart")
	}
	if diff := cmp.Diff(object(t, in), without(object(t, got), object(t, in))); diff != "" {
		t.Errorf("without what was added (-in.yaml +native.yaml):\n%s", diff)
	}
	if again := config.Decide(after, member, Facts{}); again.Reason != AlreadyInjected {
		t.Errorf("a second time: %s", again.Reason)
	}
}
