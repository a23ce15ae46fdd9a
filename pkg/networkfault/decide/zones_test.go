package decide_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
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

// One that waits for zones does not keep others waiting. When it has them, it waits for the one
// that runs.
func TestATopologyWithoutZonesKeepsNoPlace(t *testing.T) {
	w := newWorld(t)
	first := w.topology("first", `{"zones": [{"name": "a", "members": ["pd(0)"]}, {"name": "b", "members": ["tikv(9)"]}], "defaults": {"otherZone": "5ms"}, "untilDeleted": true}`)
	second, third := w.topology("second", threeZones), w.topology("third", threeZones)
	w.run()
	w.wantTopology(first, v1alpha1.Pending, decide.ReasonNoZones, "a (1 pod), by spec.zones; tikv(9) of zone b selects no pod now")
	w.wantTopology(second, v1alpha1.Running, decide.ReasonApplied, "")
	w.wantTopology(third, v1alpha1.Pending, decide.ReasonAnotherTopology, "NetworkTopology second is or will be")
	first.Spec.Zones[1].Members = []v1alpha1.Selector{"tikv(1)"}
	first.Generation++
	w.run()
	w.wantTopology(first, v1alpha1.Pending, decide.ReasonAnotherTopology, "NetworkTopology second is or will be")
	w.wantTopology(second, v1alpha1.Running, decide.ReasonApplied, "")
}

// One that the zones of its pods forbid is refused at once, also before the TidbCluster is ready,
// and keeps nobody waiting.
func TestATopologyThatCannotBeKeepsNoPlace(t *testing.T) {
	w := newWorld(t)
	w.label(map[byte]string{'0': "east", '1': "west", '2': "north"})
	w.Cluster.Status.PD.Members["basic-pd-0"] = tcv1alpha1.PDMember{Name: "basic-pd-0"}
	first := w.topology("first", `{"profile": "two-region", "untilDeleted": true}`)
	second := w.topology("second", `{"spread": 2, "defaults": {"otherZone": "5ms"}, "startAfter": "Created", "allow": ["UnhealthyStart"], "untilDeleted": true}`)
	w.decide()
	w.wantTopology(first, v1alpha1.Refused, decide.ReasonInvalid, "spec.profile two-region is for 2 zones")
	w.wantTopology(second, v1alpha1.Running, decide.ReasonApplying, "")
}

// What runs has others wait, also while zones forbid them: these may be others later.
func TestATopologyThatCannotBeWaitsForOneThatRuns(t *testing.T) {
	w := newWorld(t)
	w.label(map[byte]string{'0': "east", '1': "west", '2': "west"})
	first := w.topology("first", threeZones)
	second := w.topology("second", `{"profile": "two-region", "untilDeleted": true}`)
	w.run()
	w.label(map[byte]string{'0': "east", '1': "west", '2': "north"})
	w.run()
	w.wantTopology(first, v1alpha1.Running, decide.ReasonApplied, "")
	w.wantTopology(second, v1alpha1.Pending, decide.ReasonAnotherTopology, "NetworkTopology first is or will be")
}

// All nodes are labelled anew at one look, with more zones than the profile has or fewer. That
// does not end what runs, which is whole again with as many zones as it has.
func TestAProfileWhoseNodesAreLabelledAnew(t *testing.T) {
	for name, zones := range map[string]map[byte]string{
		"fewer": {'0': "x", '1': "y", '2': "y"}, "one": {'0': "x", '1': "x", '2': "x"}, "more": {'0': "x", '1': "y", '2': "z", '3': "w"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.tidbIn(3, "")
			w.label(map[byte]string{'0': "a", '1': "b", '2': "c", '3': "c"})
			ground := w.topology("ground", `{"profile": "three-az", "untilDeleted": true}`)
			w.run()
			w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
			w.label(zones)
			for range 2 {
				w.run()
				w.wantTopology(ground, v1alpha1.Running, decide.ReasonNotApplied, "the profile's zones stay a, b, c")
			}
			w.label(map[byte]string{'0': "x", '1': "y", '2': "z"})
			d := w.run()
			w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
			if got := w.added(d, "basic-pd-0", "basic-pd-1"); got != time.Millisecond {
				t.Errorf("%s from x to y, want 1ms", got)
			}
		})
	}
}

// What has ended before its time has ended then, as its status says, and not later.
func TestTheEndOfATopologyIsNotInTheFuture(t *testing.T) {
	w := newWorld(t)
	ground := w.topology("ground", threeZones)
	w.run()
	w.Now = w.Now.Add(time.Minute)
	w.Cluster = nil
	w.run()
	w.wantTopology(ground, v1alpha1.Ended, decide.ReasonClusterNotFound, "is gone")
	if at := ground.Status.ExpiresAt; at == nil || at.Sub(w.Now).Abs() > time.Second {
		t.Errorf("it ended at %s, want %s", at, w.Now)
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

// A zone whose pods are being replaced stays one, so that others see no change by it. It is one
// no more when all pods are elsewhere.
func TestAZoneWhosePodsAreReplaced(t *testing.T) {
	w := newWorld(t)
	w.label(map[byte]string{'0': "east", '1': "west", '2': "north"})
	ground := w.topology("ground", byLabel)
	w.run()
	before, all := ground.Status.What, w.Pods
	w.Pods = slices.DeleteFunc(slices.Clone(all), func(p decide.Pod) bool { return strings.HasSuffix(p.Name, "-2") })
	for range 2 {
		w.run()
		if s := ground.Status; len(s.Zones) != 3 || len(s.Zones[1].Pods) > 0 || s.Zoned != "6/6" || s.What != before {
			t.Errorf("while pods are replaced %+v", s)
		}
	}
	w.Pods = all
	w.label(map[byte]string{'0': "east", '1': "west", '2': "west"})
	if w.run(); len(ground.Status.Zones) != 2 || ground.Status.Zoned != "8/8" {
		t.Errorf("with all pods elsewhere %+v", ground.Status)
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
