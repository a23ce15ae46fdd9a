package plugin_test

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// grow gives the TidbCluster two pods more, which makes ten.
func (w *world) grow() {
	w.t.Helper()
	var set appsv1.StatefulSet
	if err := w.Get(w.t.Context(), types.NamespacedName{Namespace: "db", Name: "basic-tikv"}, &set); err != nil {
		w.t.Fatal(err)
	}
	for i := 3; i < 5; i++ {
		pod := newPod(&set, tidbcluster.TiKV, i, fmt.Sprintf("10.0.1.%d", i+1))
		if err := w.Create(w.t.Context(), pod); err != nil {
			w.t.Fatal(err)
		}
		w.proxy.add(pod.Name, pod.UID)
	}
}

// Of ten pods two agents are dead: one that refuses connections, and one that never answers.
func TestTenPods(t *testing.T) {
	w := newWorld(t)
	w.grow()
	w.proxy.answer("basic-tikv-3", behaviour("dead"))
	w.proxy.answer("basic-tikv-4", behaviour("hangs"))
	if status := w.run(t.Context(), "status", "basic", "--request-timeout=1s"); status != 0 {
		t.Fatalf("exit status %d: %s", status, w.errOut.String())
	}
	text := w.out.String()
	for _, want := range []string{
		"agents: 8 of 10 answer: netem, v1.2.3, sidecar\n",
		"basic-tikv-3: the agent is silent: connection refused\n",
		"basic-tikv-4: the agent is silent: no answer in time\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > 121 {
			t.Errorf("wider than 120 columns: %s", line)
		}
	}
}

// BenchmarkStatus shows ten pods whose agents answer: what the plugin itself takes, beside an
// API server that answers at once. It is to be far below a second.
func BenchmarkStatus(b *testing.B) {
	w := newWorld(b)
	w.grow()
	for b.Loop() {
		if status := w.run(b.Context(), "status", "basic"); status != 0 {
			b.Fatal(w.errOut.String())
		}
	}
}
