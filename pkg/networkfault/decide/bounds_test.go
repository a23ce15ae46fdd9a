package decide_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// A status names some of many pods. What is decided is about all of them.
func TestMorePodsThanAStatusNames(t *testing.T) {
	w := newWorld(t)
	for component, n := range map[tidbcluster.Component]int{tidbcluster.TiKV: 300, tidbcluster.TiDB: 70} {
		for i := range n {
			w.Pods = append(w.Pods, decide.Pod{
				Name: fmt.Sprintf("basic-%s-%d", component, i+3), Component: component, Agent: true, Ready: true,
				Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(len(w.Pods) / 256), byte(len(w.Pods))})},
			})
		}
	}
	ground := w.topology("ground", `{"zones": [{"name": "a", "members": ["tikv"]}, {"name": "b", "members": ["pd"]}], "defaults": {"otherZone": "1ms"}, "untilDeleted": true}`)
	d := w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	s := ground.Status
	if len(s.Zones[0].Pods) != 256 || len(s.Unzoned) != 64 || s.Zoned != "306/378" || s.Applied != "306/306" {
		t.Errorf("%d pods of a and %d in none are named, zoned %s, applied %s; want 256, 64, 306/378 and 306/306", len(s.Zones[0].Pods), len(s.Unzoned), s.Zoned, s.Applied)
	}
	if len(d.Zones) != 306 || slices.ContainsFunc(w.Pods, func(p decide.Pod) bool { return p.Component == tidbcluster.TiKV && d.Zones[p.Name] != "a" }) {
		t.Errorf("%d pods have a zone, want 306", len(d.Zones))
	}
	ground.Spec.Paused, ground.Generation = true, 2
	if d = w.run(); d.Zones != nil {
		t.Errorf("zones of a topology that is paused: %v", d.Zones)
	}
}
