package missed

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
)

// Pods without the agent are counted by reason for as long as they run, so that one that
// was refused is not forgotten with its Events.
func TestPodsWithoutTheAgentAreCounted(t *testing.T) {
	onHost := func(p *corev1.Pod) { p.Spec.HostNetwork = true }
	refused := pod("basic-tikv-0", "basic", withoutRefused)
	w := newWorld(t, cluster("basic", "true"), cluster("whole", "true"), refused, pod("basic-tikv-1", "basic", withoutRefused),
		pod("basic-tikv-2", "basic"), pod("basic-pd-0", "basic", onHost), pod("basic-pd-1", "basic", injected), pod("whole-tikv-0", "whole", injected))
	wants := func(want string) {
		t.Helper()
		if want != "" {
			want = "# HELP tidelay_pods_without_agent Running pods that are asked to carry the agent and do not, by the reason in the condition TidelayInjected.\n" +
				"# TYPE tidelay_pods_without_agent gauge\n" + want
		}
		if err := testutil.CollectAndCompare(w.checker.metrics.without, strings.NewReader(want)); err != nil {
			t.Error(err)
		}
	}
	const others = `tidelay_pods_without_agent{namespace="db",reason="host_network",tidbcluster="basic"} 1
tidelay_pods_without_agent{namespace="db",reason="missed",tidbcluster="basic"} 1
`
	for range 2 {
		w.checker.check(t.Context())
		wants(others + `tidelay_pods_without_agent{namespace="db",reason="refused",tidbcluster="basic"} 2` + "\n")
	}
	if err := w.client.Delete(t.Context(), refused); err != nil {
		t.Fatal(err)
	}
	w.checker.check(t.Context())
	wants(others + `tidelay_pods_without_agent{namespace="db",reason="refused",tidbcluster="basic"} 1` + "\n")

	w.excluded = true
	w.checker.check(t.Context())
	wants(`tidelay_pods_without_agent{namespace="db",reason="host_network",tidbcluster="basic"} 1
tidelay_pods_without_agent{namespace="db",reason="namespace_excluded",tidbcluster="basic"} 2
`)
	w.annotate("basic", "false")
	w.checker.check(t.Context())
	wants("")
}
