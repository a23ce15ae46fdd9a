package injection

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

func asksForNative() tidbcluster.Membership {
	return memberOf("tidelay.io/inject", "true", "tidelay.io/sidecar", "native")
}

func TestNative(t *testing.T) {
	tests := map[string]struct {
		member  tidbcluster.Membership
		facts   Facts
		want    bool
		problem string // contained
	}{
		"if the operator knows it, native":                   {member: asksForNative(), facts: Facts{Operator: "v1.6.0"}, want: true},
		"if the operator is a nightly build, native":         {member: asksForNative(), facts: Facts{Operator: "nightly"}, want: true},
		"if the operator's image has no tag, native":         {member: asksForNative(), want: true},
		"if nobody asks, a container":                        {member: optedIn(), facts: Facts{Operator: "v1.6.0"}},
		"if the operator is older, a container, and why":     {member: asksForNative(), facts: Facts{Operator: "v1.5.3"}, problem: "TiDB Operator is v1.5.3; accepted: v1.6.0"},
		"if the operator is not known, a container, and why": {member: asksForNative(), facts: Facts{OperatorErr: errors.New("too late")}, problem: "is not known: too late; accepted: v1.6.0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := testConfig.Decide(tikv(nil), test.member, test.facts)
			last := d.Patch[len(d.Patch)-1]
			agent := last.Value.(corev1.Container)
			if native := last.Path == "/spec/initContainers/-"; native != test.want || isNative(agent) != test.want {
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
	member := asksForNative()
	member.Component = tidbcluster.TiFlash
	in := readFile(t, "testdata/tiflash/in.yaml")
	got := injectBy(t, member, in)
	checkGolden(t, "testdata/tiflash/native.yaml", got)
	after := decode(t, got)
	if inits := after.Spec.InitContainers; inits[len(inits)-1].Name != ContainerName || !isNative(inits[len(inits)-1]) {
		t.Error("the last init container is not the agent, or does not restart")
	}
	if diff := cmp.Diff(object(t, in), without(object(t, got), object(t, in))); diff != "" {
		t.Errorf("without what was added (-in.yaml +native.yaml):\n%s", diff)
	}
	if again := testConfig.Decide(after, member, Facts{}); again.Reason != AlreadyInjected {
		t.Errorf("a second time: %s", again.Reason)
	}
}
