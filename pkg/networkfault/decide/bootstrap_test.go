package decide_test

import (
	"slices"
	"strings"
	"testing"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// A topology that is applied together with its TidbCluster waits for pods that are not there
// yet, such as TiDB, which comes last, and is not refused for them.
func TestATopologyWaitsForPods(t *testing.T) {
	for name, test := range map[string]struct{ spec, words string }{
		"a profile by label": {
			`{"profile": "2-2-1", "untilDeleted": true}`,
			"spec.profile 2-2-1 is for 3 zones (a, b, c), and the label topology.kubernetes.io/zone of the pods' nodes makes 2: east, north; label the nodes",
		},
		"a list": {
			`{"zones": [{"name": "a", "members": ["pd"]}, {"name": "b", "members": ["tikv"]}, {"name": "c", "members": ["tidb"]}], "links": [{"between": ["a", "c"], "rtt": "20ms"}], "untilDeleted": true}`,
			"nothing is between the zones that have pods now (a, b); tidb of zone c selects no pod now; no pod is in zone c of spec.links[0]",
		},
		"links by label": {
			`{"links": [{"between": ["east", "west"], "rtt": "20ms"}], "untilDeleted": true}`,
			"nothing is between the zones that have pods now (east, north); no pod is in zone west of spec.links[0]",
		},
		"two zones of a list": {
			`{"zones": [{"name": "a", "members": ["pd", "tikv"]}, {"name": "b", "members": ["tidb"]}], "defaults": {"otherZone": "20ms"}, "untilDeleted": true}`,
			"fewer than 2 zones have pods: a (6 pods), by spec.zones",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for component, zone := range map[tidbcluster.Component]string{tidbcluster.PD: "east", tidbcluster.TiKV: "north", tidbcluster.TiDB: "west"} {
				for i := range w.Pods {
					if w.Pods[i].Component == component {
						w.Pods[i].NodeLabels = map[string]string{corev1.LabelTopologyZone: zone}
					}
				}
			}
			all, tidb := slices.Clone(w.Pods), w.Cluster.Status.TiDB
			w.Pods = slices.DeleteFunc(w.Pods, func(p decide.Pod) bool { return p.Component == tidbcluster.TiDB })
			w.Cluster.Status.TiDB = tcv1alpha1.TiDBStatus{}
			ground := w.topology("ground", test.spec)
			for range 2 {
				w.decide()
				w.wantTopology(ground, v1alpha1.Pending, decide.ReasonNoZones, test.words)
			}
			w.Pods, w.Cluster.Status.TiDB = all, tidb
			w.run()
			w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
		})
	}
}

const rated = `{"spread": 2, "links": [{"between": ["a", "b"], "rtt": "1ms", "rate": {"perSecond": "1gbit"}}], "untilDeleted": true}`

// severing cuts off a store, so that it waits for the others.
const severing = `{"zones": [{"name": "a", "members": ["pd"]}, {"name": "b", "members": ["tikv(0)"]}], "links": [{"between": ["a", "b"], "loss": {"percent": 60}, "rate": {"perSecond": "1gbit"}}], "allow": ["UnhealthyStart"], "duration": "10m"}`

// A topology that waits is not in force, also if it was before, so nothing conflicts with it.
// What started meanwhile goes on when the wait is over.
func TestATopologyThatWaitsConflictsWithNothing(t *testing.T) {
	for name, test := range map[string]struct {
		spec       string
		harm, heal func(*world)
		words      string
	}{
		"TiDB is not ready": {rated, func(w *world) { w.pod("basic-tidb-0").Ready = false }, func(w *world) { w.pod("basic-tidb-0").Ready = true }, "1 of 2 pods of tidb are ready"},
		"an upgrade": {
			rated, func(w *world) { w.Cluster.Status.TiKV.Phase = tcv1alpha1.UpgradePhase },
			func(w *world) { w.Cluster.Status.TiKV.Phase = tcv1alpha1.NormalPhase }, "status.tikv.phase is Upgrade",
		},
		"a quorum": {severing, func(w *world) { w.pod("basic-tikv-2").Ready = false }, func(w *world) { w.pod("basic-tikv-2").Ready = true }, "Regions of TiKV could lose their majority"},
	} {
		for _, paused := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				ground := w.topology("ground", test.spec)
				if paused {
					w.run()
					ground.Spec.Paused, ground.Generation = true, 2
					w.run()
					ground.Spec.Paused, ground.Generation = false, 3
				}
				test.harm(w)
				f := w.fault("slow", `{"from": ["pd"], "to": ["pd(1)", "tikv(0)"], "rate": {"perSecond": "10mbit"}, "allow": ["UnhealthyStart", "Upgrade"], "untilDeleted": true}`)
				w.hold(w.decide())
				w.wantTopology(ground, v1alpha1.Pending, decide.ReasonNotReady, test.words)
				w.wantTopology(ground, v1alpha1.Pending, decide.ReasonNotReady, "It starts when that is over.")
				w.want(f, v1alpha1.Running, decide.ReasonApplying, "")
				test.heal(w)
				w.run()
				w.wantTopology(ground, v1alpha1.Refused, decide.ReasonConflict, "NetworkFault slow")
				w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
			})
		}
	}
}

// What a topology allows it does not wait for, nor for what faults that run do to pods.
func TestWhatATopologyDoesNotWaitFor(t *testing.T) {
	w := newWorld(t)
	w.fault("cut", `{"from": ["tidb(0)"], "partition": true, "duration": "1m"}`)
	w.run()
	w.pod("basic-tidb-0").Ready = false
	w.Cluster.Status.TiKV.Phase = tcv1alpha1.UpgradePhase
	ground := w.topology("ground", strings.Replace(threeZones, "{", `{"allow": ["Upgrade"], `, 1))
	w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
}
