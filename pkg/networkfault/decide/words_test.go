package decide_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

func TestWords(t *testing.T) {
	w := newWorld(t)
	ports := w.fault("ports", `{"from": ["pd(0)"], "to": ["pd", "cidr/192.0.2.0/24"], "rtt": "5ms", "ports": [2380, 2379, 2379, "2300-2378", 80], "duration": "1m"}`)
	w.run()
	if want := "+5ms RTT of port 80,2300-2380"; ports.Status.What != want {
		t.Errorf("what is %q, want %q", ports.Status.What, want)
	}
	for kind, want := range map[string]string{v1alpha1.Resolved: "1 pod on the side from, 3 pods on the side to and 1 range", v1alpha1.Applied: "in force at all 3 pods"} {
		c := meta.FindStatusCondition(ports.Status.Conditions, kind)
		if c.Message != want || !c.LastTransitionTime.Equal(ports.Status.StartedAt) {
			t.Errorf("condition %+v, want %q at %s", c, want, ports.Status.StartedAt)
		}
	}
	delete(w.Cluster.Annotations, "tidelay.io/inject")
	w.decide()
	if got, want := ports.Status.Message, `TidbCluster basic does not ask for agents: set its annotation tidelay.io/inject: "true". A fault that has ended can't be changed: delete it and create it again.`; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	other := w.fault("other", slowLeader)
	w.pod("basic-tikv-0").Agent = false
	w.decide()
	w.want(other, v1alpha1.Refused, decide.ReasonNotInjected, `"true"; some of its pods have none: kubectl tidelay attach basic adds them and restarts nothing, or restart these pods. It is tried again when it is changed or created again.`)
}

// A fault that is refused while it runs has no end.
func TestWhatIsRefusedHasNoEnd(t *testing.T) {
	w := newWorld(t)
	f := w.fault("slow", slowLeader)
	w.run()
	end := f.Status.ExpiresAt
	f.Spec.Jitter, f.Generation = "1h", f.Generation+1
	w.decide()
	if w.want(f, v1alpha1.Refused, decide.ReasonInvalid, "spec.jitter"); f.Status.ExpiresAt != nil {
		t.Errorf("ends at %s", f.Status.ExpiresAt)
	}
	f.Spec.Jitter, f.Generation = "", f.Generation+1
	w.run()
	if w.want(f, v1alpha1.Running, decide.ReasonApplied, ""); !f.Status.ExpiresAt.Equal(end) {
		t.Errorf("ends at %s, want %s as before", f.Status.ExpiresAt, end)
	}
}
