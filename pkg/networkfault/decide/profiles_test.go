package decide_test

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

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
	if got := w.added(d, "basic-pd-1", "basic-pd-2"); got != 20*time.Millisecond || len(ground.Status.Zones) != 3 || ground.Status.What != "2-2-1 (x is a, y is b, z is c)" {
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
