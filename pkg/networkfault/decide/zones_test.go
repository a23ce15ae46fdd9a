package decide_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

const byLabel = `{"defaults": {"otherZone": "5ms"}, "untilDeleted": true}`

// The one that runs holds, else the oldest. Others follow when it has ended.
func TestOneTopologyAtATime(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*world) // of two, of which the first runs
		first  v1alpha1.Phase
		second v1alpha1.Phase
	}{
		"nothing":       {func(*world) {}, v1alpha1.Running, v1alpha1.Pending},
		"deleted":       {func(w *world) { w.Topologies = w.Topologies[1:] }, v1alpha1.Running, v1alpha1.Running},
		"ended":         {func(w *world) { w.Now = w.Now.Add(2 * time.Hour) }, v1alpha1.Ended, v1alpha1.Running},
		"paused":        {func(w *world) { w.Topologies[0].Spec.Paused = true; w.Topologies[0].Generation++ }, v1alpha1.Paused, v1alpha1.Running},
		"refused":       {func(w *world) { w.Topologies[0].Spec.Links[0].RTT = "2s"; w.Topologies[0].Generation++ }, v1alpha1.Refused, v1alpha1.Running},
		"another order": {func(w *world) { slices.Reverse(w.Topologies) }, v1alpha1.Running, v1alpha1.Pending},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			first, second := w.topology("first", threeZones), w.topology("second", `{"spread": 2, "profile": "two-region", "untilDeleted": true}`)
			w.run()
			w.wantTopology(second, v1alpha1.Pending, decide.ReasonAnotherTopology, "NetworkTopology first is or will be")
			test.change(w)
			w.run()
			if w.decide(); first.Status.Phase != test.first || second.Status.Phase != test.second {
				t.Errorf("the first is %+v, the second %+v", first.Status.Life, second.Status.Life)
			}
		})
	}
}

// Of two that were created at once the first by name holds, in whatever order they are seen.
func TestTopologiesOfOneAge(t *testing.T) {
	for _, reversed := range []bool{false, true} {
		w := newWorld(t)
		b, a := w.topology("b", threeZones), w.topology("a", threeZones)
		b.CreationTimestamp = a.CreationTimestamp
		if reversed {
			slices.Reverse(w.Topologies)
		}
		w.run()
		w.wantTopology(a, v1alpha1.Running, decide.ReasonApplied, "")
		w.wantTopology(b, v1alpha1.Pending, decide.ReasonAnotherTopology, "NetworkTopology a is or will be")
	}
}

// One that goes on while its TidbCluster is upgraded waits as one that starts, as long as it
// takes, and keeps its place.
func TestATopologyGoesOnAfterAnUpgrade(t *testing.T) {
	w := newWorld(t)
	ground := w.topology("ground", strings.Replace(threeZones, `"duration": "1h"`, `"untilDeleted": true`, 1))
	w.run()
	started := ground.Status.StartedAt
	ground.Spec.Paused, ground.Generation = true, 2
	w.run()
	w.Cluster.Status.TiKV.Phase = tcv1alpha1.UpgradePhase
	ground.Spec.Paused, ground.Generation = false, 3
	other := w.topology("other", threeZones)
	for range 3 {
		if d := w.run(); len(faulted(d)) > 0 {
			t.Errorf("faults at %v", faulted(d))
		}
		w.wantTopology(ground, v1alpha1.Pending, decide.ReasonNotReady, "TiDB Operator is changing the TidbCluster: status.tikv.phase is Upgrade. ")
		w.wantTopology(other, v1alpha1.Pending, decide.ReasonAnotherTopology, "NetworkTopology ground")
		w.Now = w.Now.Add(time.Hour)
	}
	w.Cluster.Status.TiKV.Phase = tcv1alpha1.NormalPhase
	w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	if !ground.Status.StartedAt.Equal(started) {
		t.Errorf("started at %s, want %s", ground.Status.StartedAt, started)
	}
}

// One that was paused waits for the one that took its place, although it is older.
func TestTheTopologyThatRunsHolds(t *testing.T) {
	w := newWorld(t)
	first, second := w.topology("first", threeZones), w.topology("second", threeZones)
	first.Spec.Paused = true
	w.run()
	w.wantTopology(second, v1alpha1.Running, decide.ReasonApplied, "")
	first.Spec.Paused, first.Generation = false, 2
	w.run()
	w.wantTopology(first, v1alpha1.Pending, decide.ReasonAnotherTopology, "NetworkTopology second")
	w.wantTopology(second, v1alpha1.Running, decide.ReasonApplied, "")
}

// One whose start can't be written holds the place of the others, and a fault of its name is
// another object.
func TestAStartOfATopologyThatCouldNotBeWritten(t *testing.T) {
	w := newWorld(t)
	first, second, f := w.topology("first", threeZones), w.topology("second", threeZones), w.fault("first", slowLeader)
	w.Hold = map[string]bool{"topology/first": true}
	w.run()
	w.wantTopology(first, v1alpha1.Pending, decide.ReasonStarting, "")
	w.wantTopology(second, v1alpha1.Pending, decide.ReasonAnotherTopology, "NetworkTopology first")
	w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
}

// A topology waits until PD and the stores are healthy, and as long as its start would be
// refused for the moment. After its start it does not matter.
func TestATopologyWaitsUntilReady(t *testing.T) {
	sick := func(w *world) { w.Cluster.Status.PD.Members["basic-pd-0"] = tcv1alpha1.PDMember{Name: "basic-pd-0"} }
	down := func(w *world) {
		w.Cluster.Status.TiKV.Stores["1"] = tcv1alpha1.TiKVStore{ID: "1", PodName: "basic-tikv-0", State: tcv1alpha1.TiKVStateOffline}
	}
	for name, test := range map[string]struct {
		harm  func(*world)
		words string
	}{
		"PD":        {sick, "2 of 3 members of pd are healthy. It starts when PD and the stores are healthy."},
		"a store":   {down, "2 of 3 stores of tikv are up"},
		"bootstrap": {func(w *world) { w.Cluster.Status = tcv1alpha1.TidbClusterStatus{}; w.Pods = nil }, "0 of 3 members of pd are healthy; 0 of 3 stores of tikv are up"},
		"TiDB":      {func(w *world) { w.pod("basic-tidb-0").Ready = false }, "1 of 2 pods of tidb are ready"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			healthy, pods := w.Cluster.DeepCopy(), slices.Clone(w.Pods)
			ground := w.topology("ground", threeZones)
			test.harm(w)
			for range 3 {
				w.decide()
				w.wantTopology(ground, v1alpha1.Pending, decide.ReasonNotReady, test.words)
				w.Now = w.Now.Add(time.Hour)
			}
			w.Cluster, w.Pods = healthy, pods
			w.run()
			w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
			sick(w)
			down(w)
			w.run()
			w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
		})
	}
}

// One that starts at once is refused as a fault is, unless it allows that.
func TestATopologyThatStartsAtOnce(t *testing.T) {
	for allow, want := range map[string]v1alpha1.Phase{`[]`: v1alpha1.Refused, `["UnhealthyStart"]`: v1alpha1.Running} {
		w := newWorld(t)
		ground := w.topology("ground", strings.Replace(threeZones, "{", `{"startAfter": "Created", "allow": `+allow+`, `, 1))
		w.Cluster.Status.PD.Members["basic-pd-0"] = tcv1alpha1.PDMember{Name: "basic-pd-0"}
		w.decide()
		w.Now = w.Now.Add(looks + time.Second)
		if w.decide(); ground.Status.Phase != want {
			t.Errorf("allow %s: %+v, want %s", allow, ground.Status.Life, want)
		}
	}
}

func TestZonesByLabel(t *testing.T) {
	w := newWorld(t)
	ground := w.topology("ground", byLabel)
	w.decide()
	w.wantTopology(ground, v1alpha1.Pending, decide.ReasonNoZones, "fewer than 2 zones have pods: none, by the label topology.kubernetes.io/zone of the pods' nodes; 8 pods on nodes without it")
	w.label(map[byte]string{'0': "east"})
	w.pod("basic-tidb-1").Unscheduled = true
	w.decide()
	w.wantTopology(ground, v1alpha1.Pending, decide.ReasonNoZones, "east (3 pods), by the label topology.kubernetes.io/zone of the pods' nodes; 4 pods on nodes without it; 1 pod on no node yet; label")
	w.label(map[byte]string{'0': "east", '1': "west"})
	d := w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	s := ground.Status
	if s.Zoned != "6/8" || !slices.Equal(s.Unzoned, []string{"basic-pd-2", "basic-tikv-2"}) || s.Applied != "6/6" || s.What != "5ms RTT between 2 zones" {
		t.Errorf("status %+v", s)
	}
	if got := w.added(d, "basic-pd-0", "basic-pd-2"); got != 0 {
		t.Errorf("%s is added for a pod in no zone", got)
	}
	w.label(map[byte]string{'0': "east"}) // the others move
	w.run()
	const few = "fewer than 2 zones have pods: east (3 pods), by the label topology.kubernetes.io/zone of the pods' nodes"
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonNotApplied, "no pod can have it now; "+few)
	if c := meta.FindStatusCondition(ground.Status.Conditions, v1alpha1.Resolved); ground.Status.Zoned != "3/8" || c.Status != metav1.ConditionFalse || c.Reason != decide.ReasonNoZones || !strings.HasPrefix(c.Message, few) {
		t.Errorf("status %+v", ground.Status)
	}
	w.label(map[byte]string{'0': "east", '1': "west"})
	if w.run(); !meta.IsStatusConditionTrue(ground.Status.Conditions, v1alpha1.Resolved) {
		t.Errorf("status %+v", ground.Status)
	}
}

// A profile wants as many zones as it has. One that loses its pods for a while is a zone
// still.
func TestAProfileByLabel(t *testing.T) {
	w := newWorld(t)
	three := map[byte]string{'0': "x", '1': "y", '2': "z"}
	w.label(three)
	two := w.topology("two", `{"profile": "two-region", "untilDeleted": true}`)
	w.decide()
	w.wantTopology(two, v1alpha1.Refused, decide.ReasonInvalid, "spec.profile two-region is for 2 zones (a, b), and the label topology.kubernetes.io/zone of the pods' nodes makes 3: x, y, z")
	ground := w.topology("ground", `{"profile": "2-2-1", "untilDeleted": true}`)
	w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	w.label(map[byte]string{'1': "y", '2': "z"})
	d := w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	if got := w.added(d, "basic-pd-1", "basic-pd-2"); got != 20*time.Millisecond || len(ground.Status.Zones) != 3 || ground.Status.What != "2-2-1" {
		t.Errorf("%s, status %+v; want 20ms as before", got, ground.Status)
	}
}

// A pod that moves to another zone of nodes changes nothing of how a profile was dealt.
func TestAProfileStaysDealt(t *testing.T) {
	for name, test := range map[string]struct {
		zones        map[byte]string
		zoned, words string
	}{
		"a zone more":             {map[byte]string{'0': "x", '1': "y", '2': "z"}, "7/8", "in no zone: 1 pod of zone w; the profile's zones stay x, y, z until the topology is created again"},
		"one that comes for one":  {map[byte]string{'0': "zz", '1': "y", '2': "z"}, "4/8", "in no zone: 1 pod of zone w, 3 pods of zone zz; the profile's"},
		"one that was first goes": {map[byte]string{'1': "y", '2': "z"}, "4/8", "in no zone: 1 pod of zone w; the profile's"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.label(map[byte]string{'0': "x", '1': "y", '2': "z"})
			ground := w.topology("ground", `{"profile": "2-2-1", "untilDeleted": true}`)
			w.run()
			w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
			w.label(test.zones)
			w.pod("basic-tidb-1").NodeLabels = map[string]string{corev1.LabelTopologyZone: "w"}
			for range 2 {
				d := w.run()
				w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, test.words)
				if got := w.added(d, "basic-pd-1", "basic-pd-2"); got != 20*time.Millisecond || ground.Status.Zoned != test.zoned || !slices.Contains(ground.Status.Unzoned, "basic-tidb-1") {
					t.Errorf("%s, status %+v; want 20ms as before", got, ground.Status)
				}
				if got := w.added(d, "basic-tidb-1", "basic-pd-2"); got != 0 {
					t.Errorf("%s is added for a pod in no zone", got)
				}
			}
		})
	}
}

// Zones that were dealt stay so also when the topology is changed or goes on after a pause
// while one of them has no pods.
func TestAProfileStaysDealtWhenItIsChanged(t *testing.T) {
	for name, change := range map[string]func(*world, *v1alpha1.NetworkTopology){
		"another profile": func(_ *world, ground *v1alpha1.NetworkTopology) { ground.Spec.Profile = "three-az" },
		"another rule": func(_ *world, ground *v1alpha1.NetworkTopology) {
			ground.Spec.Allow = []v1alpha1.Allowance{"LongDelay"}
		},
		"a pause": func(w *world, ground *v1alpha1.NetworkTopology) {
			ground.Spec.Paused, ground.Generation = true, ground.Generation+1
			w.run()
			w.wantTopology(ground, v1alpha1.Paused, decide.ReasonPaused, "")
			ground.Spec.Paused = false
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.label(map[byte]string{'0': "x", '1': "y", '2': "z"})
			ground := w.topology("ground", `{"profile": "2-2-1", "untilDeleted": true}`)
			w.run()
			w.label(map[byte]string{'1': "y", '2': "z"})
			w.run()
			change(w, ground)
			ground.Generation++
			w.run()
			w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
			if len(ground.Status.Zones) != 3 || ground.Status.Zones[0].Name != "x" {
				t.Errorf("zones %+v, want x, y, z", ground.Status.Zones)
			}
		})
	}
}

// Zones of another source are dealt anew, and are waited for.
func TestAProfileOfOtherZonesIsDealtAnew(t *testing.T) {
	w := newWorld(t)
	ground := w.topology("ground", `{"profile": "2-2-1", "spread": 3, "untilDeleted": true}`)
	w.label(map[byte]string{'0': "x", '1': "y"})
	w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	ground.Spec.Spread, ground.Generation = 0, 2
	if d := w.run(); len(faulted(d)) > 0 {
		t.Errorf("faults at %v", faulted(d))
	}
	w.wantTopology(ground, v1alpha1.Pending, decide.ReasonNoZones, "makes 2: x, y; 2 pods on nodes without it")
	w.label(map[byte]string{'0': "x", '1': "y", '2': "z"})
	d := w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	if got := w.added(d, "basic-pd-0", "basic-pd-1"); got != 2*time.Millisecond {
		t.Errorf("%s from x to y, want 2ms", got)
	}
}

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
