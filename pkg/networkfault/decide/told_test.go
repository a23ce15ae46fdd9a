package decide_test

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

func TestWhatATopologyIsRefusedFor(t *testing.T) {
	for spec, want := range map[string][2]string{
		`{"spread": 3, "defaults": {"otherZone": "2s"}, "untilDeleted": true}`: {"LongDelay", "Up to 2s would be added to a round trip"},
		`{"spread": 3, "links": [{"between": ["a", "b"], "rtt": "1ms", "loss": {"percent": 60}}, {"between": ["a", "c"], "rtt": "1ms", "loss": {"percent": 60}}, {"between": ["b", "c"], "rtt": "1ms", "loss": {"percent": 60}}], "duration": "1m"}`: {"QuorumLoss", "PD would lose its majority"},
		`{"spread": 3, "defaults": {"otherZone": "0ms"}, "untilDeleted": true}`:                                                                             {"Invalid", "nothing is between the zones that have pods (a, b, c)"},
		`{"spread": 14, "defaults": {"otherZone": "1ms"}, "untilDeleted": true}`:                                                                            {"Invalid", "12 faults of a pod are possible"},
		`{"spread": 3, "defaults": {"otherZone": "1ms"}}`:                                                                                                   {"Invalid", "spec.duration"},
		`{"zones": [{"name": "a", "members": ["pd"]}, {"name": "b", "members": ["pd(0)"]}], "defaults": {"otherZone": "1ms"}, "untilDeleted": true}`:        {"Invalid", "pod basic-pd-0 is in two zones, in a by pd and in b by pd(0)"},
		`{"zones": [{"name": "a", "members": ["pd(leader)"]}, {"name": "b", "members": ["tikv"]}], "defaults": {"otherZone": "1ms"}, "untilDeleted": true}`: {"InvalidSelector", "spec.zones[0].members[0]"},
	} {
		w := newWorld(t)
		ground := w.topology("ground", spec)
		if d := w.decide(); len(faulted(d)) > 0 {
			t.Errorf("%s: faults at %v", spec, faulted(d))
		}
		w.wantTopology(ground, v1alpha1.Refused, want[0], want[1])
	}
}

// A change that is refused before its zones are known shows none, and not those of the spec
// before.
func TestARefusedChangeShowsNoOldZones(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*world, *v1alpha1.NetworkTopologySpec)
		what   string
		zones  int
	}{
		"a spec that can't be meant": {func(_ *world, spec *v1alpha1.NetworkTopologySpec) { spec.Spread = 14 }, "", 0},
		"a pod in two zones": {func(_ *world, spec *v1alpha1.NetworkTopologySpec) {
			spec.Spread, spec.Links = 0, nil
			spec.Zones = []v1alpha1.Zone{{Name: "n", Members: []v1alpha1.Selector{"pd"}}, {Name: "s", Members: []v1alpha1.Selector{"pd(0)"}}}
		}, "2ms RTT between 2 zones", 0},
		"no more agents": {func(w *world, _ *v1alpha1.NetworkTopologySpec) { delete(w.Cluster.Annotations, "tidelay.io/inject") }, "20ms to 60ms RTT between 3 zones", 0},
		"too long":       {func(_ *world, spec *v1alpha1.NetworkTopologySpec) { spec.Spread, spec.Links[0].RTT = 4, "2s" }, "2ms to 2s RTT between 4 zones", 4},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ground := w.topology("ground", strings.Replace(threeZones, "{", `{"defaults": {"otherZone": "2ms"}, `, 1))
			w.run()
			test.change(w, &ground.Spec)
			ground.Generation++
			w.decide()
			s := ground.Status
			isEmpty := s.Zoned == "" && len(s.Unzoned) == 0
			if s.Phase != v1alpha1.Refused || len(s.Zones) != test.zones || isEmpty != (test.zones == 0) || s.What != test.what {
				t.Errorf("status %+v, want it refused with %d zones and %q", s, test.zones, test.what)
			}
			isTrue, isFalse := meta.IsStatusConditionTrue(s.Conditions, v1alpha1.Resolved), meta.IsStatusConditionFalse(s.Conditions, v1alpha1.Resolved)
			if isTrue != (test.zones > 0) || isFalse != (s.Reason == decide.ReasonInvalid) {
				t.Errorf("conditions %+v", s.Conditions)
			}
		})
	}
}

// Selectors that select nobody, and links of zones without pods, are told.
func TestWhatATopologyTells(t *testing.T) {
	w := newWorld(t)
	ground := w.topology("ground", `{"zones": [{"name": "a", "members": ["pd", "tikv(7)"]}, {"name": "b", "members": ["tikv"]}], "defaults": {"otherZone": "1ms"}, "untilDeleted": true}`)
	w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "tikv(7) of zone a selects no pod now")
	if !slices.Equal(ground.Status.Unzoned, []string{"basic-tidb-0", "basic-tidb-1"}) || ground.Status.Applied != "6/6" {
		t.Errorf("status %+v", ground.Status)
	}
	w = newWorld(t)
	w.label(map[byte]string{'0': "east", '1': "west"})
	ground = w.topology("ground", `{"links": [{"between": ["east", "west"], "rtt": "1ms"}, {"between": ["east", "mars"], "rtt": "1ms"}], "untilDeleted": true}`)
	w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "no pod is in zone mars of spec.links[1]")
}

// Selectors that select nobody do not drown what else is to be said.
func TestWhatATopologyTellsFirst(t *testing.T) {
	w := newWorld(t)
	w.pod("basic-tikv-1").Agent = false
	ground := w.topology("ground", `{"zones": [
		{"name": "a", "members": ["pd", "tikv(10)", "tikv(11)", "tikv(12)", "tikv(13)"]}, {"name": "b", "members": ["tikv", "tidb(10)", "tidb(11)", "tidb(12)"]}
	], "links": [{"between": ["a", "b"], "rtt": "1ms"}], "allow": ["Partial"], "untilDeleted": true}`)
	w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	const want = "left out: basic-tikv-1; tikv(10) of zone a selects no pod now; tikv(11) of zone a selects no pod now; tikv(12) of zone a selects no pod now; " +
		"tikv(13) of zone a selects no pod now; nor any pod by 3 more selectors"
	if got := ground.Status.Message; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

// What can't be combined names the kinds, and the newer one is refused.
func TestATopologyThatCannotBeCombined(t *testing.T) {
	w := newWorld(t)
	ground := w.topology("ground", `{"spread": 2, "links": [{"between": ["a", "b"], "rtt": "1ms", "rate": {"perSecond": "1gbit"}}], "untilDeleted": true}`)
	w.run()
	f := w.fault("slow", `{"from": ["pd(0)"], "to": ["tikv"], "rate": {"perSecond": "10mbit"}, "duration": "1m"}`)
	w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	w.want(f, v1alpha1.Refused, decide.ReasonConflict, "can't be combined with NetworkTopology ground")
}

// Of those that were created in one second, the topology is first.
func TestATopologyOfTheSameSecond(t *testing.T) {
	w := newWorld(t)
	f, ground := w.fault("slow", `{"from": ["pd(0)"], "to": ["pd(1)"], "rate": {"perSecond": "10mbit"}, "duration": "1m"}`), w.topology("ground", rated)
	ground.CreationTimestamp = f.CreationTimestamp
	w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	w.want(f, v1alpha1.Refused, decide.ReasonConflict, "can't be combined with NetworkTopology ground")
}

// What an agent refuses of a topology that starts is taken back.
func TestAnAgentRefusesATopology(t *testing.T) {
	w := newWorld(t)
	ground := w.topology("ground", threeZones)
	d := w.decide()
	p := w.pod("basic-pd-0")
	p.State.Failed = "no such device"
	for _, f := range d.Faults[p.Name] {
		p.State.Refused = append(p.State.Refused, f.Fault)
	}
	if d = w.decide(); len(faulted(d)) > 0 {
		t.Errorf("faults at %v", faulted(d))
	}
	w.wantTopology(ground, v1alpha1.Refused, decide.ReasonAgentRefused, "the agent of pod basic-pd-0: no such device")
	if ground.Status.StartedAt != nil || len(ground.Status.Zones) > 0 {
		t.Errorf("status %+v", ground.Status)
	}
}
