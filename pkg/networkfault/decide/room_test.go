package decide_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// spread returns a world with pods of TiDB in so many zones, and a topology of 2ms between these.
func spread(t *testing.T, zones int) (*world, *v1alpha1.NetworkTopology) {
	t.Helper()
	w := newWorld(t)
	for i := 2; i < zones; i++ {
		w.tidbIn(i, "")
	}
	return w, w.topology("ground", fmt.Sprintf(`{"spread": %d, "defaults": {"otherZone": "2ms"}, "untilDeleted": true}`, zones))
}

// What others hold for pods without an agent ends nothing: where there is no room for that, the
// topology goes on between all others, says so, and is whole again when these have agents.
func TestPodsWithoutAgentsAreTooMany(t *testing.T) {
	w, ground := spread(t, 12)
	w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	agents := func(are bool, pods ...string) {
		for _, name := range pods {
			w.pod(name).Agent = are
		}
		w.pod("basic-tidb-11").AgentEnded = !w.pod("basic-tidb-11").Agent
	}
	check := func(words string, toBare time.Duration) {
		t.Helper()
		for range 2 {
			d := w.run()
			w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, words)
			for other, want := range map[string]time.Duration{"basic-tidb-9": 2 * time.Millisecond, "basic-tidb-10": toBare, "basic-tidb-11": toBare} {
				if got := w.added(d, "basic-pd-0", other); got != want {
					t.Errorf("%s: %s to %s, want %s", words, got, other, want)
				}
			}
		}
	}
	agents(false, "basic-tidb-10")
	check("left out: basic-tidb-10", 2*time.Millisecond) // by the agents of the others
	agents(false, "basic-tidb-11")
	const words = "left out: basic-tidb-10, basic-tidb-11 (its attached agent has ended); nothing is between these and others: else pod basic-pd-0 would need 13 faults, and 12 are possible"
	check(words, 0)
	ground.Spec.Defaults.SameZone, ground.Generation = "0ms", 2
	check(words, 0)
	agents(true, "basic-tidb-10", "basic-tidb-11")
	check("", 2*time.Millisecond)
	if s := ground.Status; s.Message != "" || s.Zoned != "18/18" {
		t.Errorf("status %+v", s)
	}
}

// Nor do they end a fault that is newer than the topology.
func TestPodsWithoutAgentsEndNoFault(t *testing.T) {
	w, ground := spread(t, 11)
	w.run()
	for i, to := range []string{"pd(0)", "pd(1)"} {
		w.Now = w.Now.Add(time.Minute)
		w.fault(fmt.Sprintf("slow-%d", i), fmt.Sprintf(`{"from": ["tikv(0)"], "to": [%q], "rtt": "%dms", "untilDeleted": true}`, to, i+5))
		w.run()
	}
	for _, are := range []bool{false, true} {
		w.pod("basic-tidb-10").Agent = are
		d := w.run()
		for _, f := range w.Faults {
			w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
		}
		words, want := "nothing is between these and others: else pod basic-tikv-0 would need 13 faults", time.Duration(0)
		if are {
			words, want = "", 2*time.Millisecond
		}
		w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, words)
		if got := w.added(d, "basic-pd-1", "basic-tidb-10"); got != want || w.added(d, "basic-pd-1", "basic-tikv-0") != 8*time.Millisecond {
			t.Errorf("with an agent %t: %s between pods of which one may have none, want %s", are, got, want)
		}
	}
}

// What is refused for something else takes the topology away from nobody.
func TestOtherConflictsLeavePodsWithoutAgents(t *testing.T) {
	w := newWorld(t)
	ground := w.topology("ground", threeZones)
	w.run()
	w.fault("rated", `{"from": ["tikv(0)"], "to": ["pd(0)"], "rate": {"perSecond": "10mbit"}, "untilDeleted": true}`)
	second := w.fault("second", `{"from": ["tikv(0)"], "to": ["pd(0)"], "rtt": "5ms", "untilDeleted": true}`)
	w.run()
	w.pod("basic-tidb-1").Agent = false
	w.run()
	second.Spec.RTT, second.Spec.Rate, second.Generation = "", &v1alpha1.Rate{PerSecond: "20mbit"}, 2
	d := w.decide()
	w.want(second, v1alpha1.Refused, decide.ReasonConflict, "two rates")
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "left out: basic-tidb-1")
	if got := w.added(d, "basic-pd-0", "basic-tidb-1"); got != 20*time.Millisecond {
		t.Errorf("%s to a pod without an agent, want 20ms by the others", got)
	}
}
