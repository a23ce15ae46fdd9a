//go:build apiserver

package apiserver

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// A native sidecar comes after the pod's other init containers, restarts, and
// has no probe that the database would wait for.
func TestNativeSidecar(t *testing.T) {
	tests := map[string]struct {
		operator string
		native   bool
		warning  string
	}{
		"of an operator that knows them": {operator: "v1.6.0", native: true},
		"of an operator too old":         {operator: "v1.5.3", warning: "TiDB Operator is v1.5.3; accepted: v1.6.0 and later"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			n := newNamespace(t)
			tc := n.cluster("basic", annotations{injectAnnotation: "true", "tidelay.io/sidecar": "native"})
			discovery := &appsv1.Deployment{ObjectMeta: n.meta("basic-discovery", tc), Spec: appsv1.DeploymentSpec{
				Selector: selector("discovery"), Template: template("discovery"),
			}}
			discovery.Spec.Template.Spec.Containers = []corev1.Container{{Name: "discovery", Image: "pingcap/tidb-operator:" + test.operator}}
			n.make(discovery)
			got := n.admit(n.pod("basic-tikv-0", "tikv", n.statefulSet("basic-tikv", tc), func(pod *corev1.Pod) {
				pod.Spec.InitContainers = []corev1.Container{{Name: "wait", Image: "busybox"}}
			}))
			if reason := got.audit.reason(); reason != "injected" {
				t.Fatalf("audit annotation says %q, want injected", reason)
			}
			if said := strings.Join(got.warnings, "; "); !strings.Contains(said, test.warning) || (said == "") != (test.warning == "") {
				t.Errorf("warnings %q, want %q", said, test.warning)
			}
			if !test.native {
				got.wantsOneAgent(t)
				return
			}
			if inits := got.pod.Spec.InitContainers; len(inits) != 2 || inits[1].Name != agentName {
				t.Fatalf("init containers are %v, want the agent last", inits)
			}
			agent := got.pod.Spec.InitContainers[1]
			if agent.RestartPolicy == nil || *agent.RestartPolicy != corev1.ContainerRestartPolicyAlways {
				t.Error("the agent does not restart: the database would wait for its end")
			}
			if agent.StartupProbe != nil || agent.ReadinessProbe != nil {
				t.Error("the agent has a probe that the database would wait for")
			}
			if agents(got.pod) != 0 {
				t.Error("the agent is a container as well")
			}
		})
	}
}
