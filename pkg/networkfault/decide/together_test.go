package decide_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// The one that runs goes on, also where the other one is older.
func TestWhatCannotBeCombined(t *testing.T) {
	w := newWorld(t)
	older := w.fault("older", `{"from": ["tikv"], "rate": {"perSecond": "10mbit"}, "duration": "1h", "paused": true}`)
	newer := w.fault("newer", `{"from": ["tikv"], "rate": {"perSecond": "20mbit"}, "duration": "1h"}`)
	w.run()
	older.Spec.Paused = false
	older.Generation++
	w.decide()
	w.want(older, v1alpha1.Refused, decide.ReasonConflict, "can't be combined with NetworkFault newer: two rates")
	w.want(newer, v1alpha1.Running, decide.ReasonApplied, "")
}

// TestWhatRunsGoesOn resumes a fault that can't be combined with one that runs by then.
func TestWhatRunsGoesOn(t *testing.T) {
	w := newWorld(t)
	first := w.fault("first", `{"from": ["tikv"], "rate": {"perSecond": "10mbit"}, "duration": "10m"}`)
	w.run()
	first.Spec.Paused, first.Generation = true, 2
	w.run()
	w.Now = w.Now.Add(time.Second)
	second := w.fault("second", `{"from": ["tikv"], "rate": {"perSecond": "20mbit"}, "duration": "10m"}`)
	w.run()
	first.Spec.Paused, first.Generation = false, 3
	w.run()
	w.want(second, v1alpha1.Running, decide.ReasonApplied, "")
	w.want(first, v1alpha1.Refused, decide.ReasonConflict, "second")
}

func TestSafety(t *testing.T) {
	w := newWorld(t)
	cut := w.fault("cut", `{"from": ["tikv(0)"], "partition": true, "duration": "1m"}`)
	w.run()
	w.want(cut, v1alpha1.Running, decide.ReasonApplied, "")
	second := w.fault("second", `{"from": ["tikv(1)"], "partition": true, "duration": "1m"}`)
	w.decide()
	w.want(second, v1alpha1.Refused, string(v1alpha1.QuorumLoss), "basic-tikv-1")
	w.want(cut, v1alpha1.Running, decide.ReasonApplied, "")
	// Another store fails by itself.
	down := w.Cluster.Status.TiKV.Stores["3"]
	down.State = tcv1alpha1.TiKVStateDown
	w.Cluster.Status.TiKV.Stores["3"] = down
	w.decide()
	w.want(cut, v1alpha1.Ended, string(v1alpha1.QuorumLoss), "basic-tikv-2")
}

// The components talk by TCP, by which ports is not known.
func TestSafetyIsOfTCP(t *testing.T) {
	w := newWorld(t)
	for name, match := range map[string]string{"udp": `"protocol": "udp"`, "icmp": `"protocol": "icmp"`, "udp-ports": `"protocol": "udp", "ports": [2380]`} {
		f := w.fault(name, `{"from": ["pd"], "to": ["pd", "tikv"], "partition": true, "untilDeleted": true, `+match+`}`)
		w.run()
		w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
	}
	for name, match := range map[string]string{"tcp": `"protocol": "tcp"`, "ports": `"ports": [9999]`} {
		f := w.fault(name, `{"from": ["pd"], "to": ["pd"], "partition": true, "duration": "1m", `+match+`}`)
		w.decide()
		w.want(f, v1alpha1.Refused, string(v1alpha1.QuorumLoss), "PD would lose its majority")
		if told := strings.Contains(f.Status.Message, "Its ports are not looked at"); told != (name == "ports") {
			t.Errorf("%s: %s", name, f.Status.Message)
		}
	}
}

func TestOrderMeansNothing(t *testing.T) {
	w := newWorld(t)
	w.fault("a", slowLeader)
	w.fault("b", `{"from": ["tikv"], "rate": {"perSecond": "10mbit"}, "duration": "1h"}`)
	w.fault("c", `{"from": ["tikv"], "rate": {"perSecond": "20mbit"}, "duration": "1h"}`)
	before := decide.Decide(w.Input)
	slices.Reverse(w.Pods)
	slices.Reverse(w.Faults)
	if diff := cmp.Diff(before, decide.Decide(w.Input), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}
