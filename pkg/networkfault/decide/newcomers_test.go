package decide_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// tidbIn adds a pod of TiDB on a node of a zone.
func (w *world) tidbIn(number int, zone string) string {
	name := fmt.Sprintf("basic-tidb-%d", number)
	w.Pods = append(w.Pods, decide.Pod{
		Name: name, Component: tidbcluster.TiDB, Agent: true, Ready: true, NodeLabels: map[string]string{corev1.LabelTopologyZone: zone},
		Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, 0, byte(number)})},
	})
	return name
}

// A pod that comes and can't be placed does not end a topology that runs, nor has a change
// refused: it is in no zone, and named.
func TestAPodThatCannotBePlaced(t *testing.T) {
	for name, test := range map[string]struct {
		spec, words string
		before      int // pods of TiDB, each in a zone of its own, when it starts
	}{
		"a zone too many": {byLabel, "in no zone: 1 pod of zone z99; there is no room for more zones", 13},
		"two zones of a list": {
			`{"zones": [{"name": "a", "members": ["pd"]}, {"name": "b", "members": ["tidb", "pod/basic-tikv-0"]}, {"name": "c", "members": ["tidb(99)"]}], "defaults": {"otherZone": "5ms"}, "untilDeleted": true}`,
			"in no zone: pod basic-tidb-99 is in two zones, in b by tidb and in c by tidb(99)", 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for i := range test.before {
				w.tidbIn(10+i, fmt.Sprintf("z%d", 10+i))
			}
			ground := w.topology("ground", test.spec)
			w.run()
			w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
			zones, last := len(ground.Status.Zones), w.tidbIn(99, "z99")
			for round := range 3 {
				if round == 2 { // a change meets it as what runs does
					ground.Spec.Defaults.OtherZone = "6ms"
					ground.Generation++
				}
				d := w.run()
				w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, test.words)
				s := ground.Status
				resolved := meta.FindStatusCondition(s.Conditions, v1alpha1.Resolved)
				if len(s.Zones) != zones || !slices.Contains(s.Unzoned, last) || resolved.Status != "True" || !strings.Contains(resolved.Message, test.words) {
					t.Errorf("status %+v", s)
				}
				if got := w.added(d, s.Zones[0].Pods[0], last); got != 0 {
					t.Errorf("%s is added for a pod in no zone", got)
				}
				if got := w.added(d, s.Zones[0].Pods[0], s.Zones[1].Pods[0]); got != 5*time.Millisecond && round < 2 || got != 6*time.Millisecond && round == 2 {
					t.Errorf("%s between the others", got)
				}
			}
			second := w.topology("second", test.spec)
			w.Topologies = w.Topologies[1:]
			w.decide()
			w.wantTopology(second, v1alpha1.Refused, decide.ReasonInvalid, "")
		})
	}
}
