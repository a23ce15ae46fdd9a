package verify_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// part is so many pods of a component.
type part struct {
	component tidbcluster.Component
	replicas  int
}

// zonedPods are some pods of each part, dealt out to zones, with addresses of so many families.
func zonedPods(zones, families int, parts ...part) []verify.Pod {
	var all []verify.Pod
	for _, part := range parts {
		for i := range part.replicas {
			n := byte(len(all))
			all = append(all, verify.Pod{
				Name: fmt.Sprintf("%s-%d", part.component, i), Component: part.component, Zone: string(rune('a' + i%zones)), Agent: verify.Holds,
				Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 1, n}), netip.AddrFrom16([16]byte{0: 0xfd, 15: n})}[:families],
			})
		}
	}
	return all
}

// manyPods are 200 pods in five zones, of which each has one PD.
func manyPods() []verify.Pod {
	return zonedPods(5, 1, part{tidbcluster.PD, 5}, part{tidbcluster.TiKV, 150}, part{tidbcluster.TiDB, 30}, part{tidbcluster.TiFlash, 15})
}

// between is a topology with 20 ms between all zones, and another round trip within them.
func between(all []verify.Pod, same time.Duration) compile.Object {
	t := compile.Topology{Zones: map[string]string{}, Links: map[compile.Way]fault.Impairment{}}
	for _, p := range all {
		t.Zones[p.Name] = p.Zone
		for _, q := range all {
			t.Links[compile.Way{From: p.Zone, To: q.Zone}] = fault.Impairment{Delay: 20 * time.Millisecond}
		}
		t.Links[compile.Way{From: p.Zone, To: p.Zone}] = fault.Impairment{Delay: same}
	}
	return compile.Object{Name: compile.TopologyKey("ground"), Topology: &t}
}

// cut is a partition of all pods of two zones.
func cut(all []verify.Pod, from, to string) compile.Object {
	o := compile.Object{Name: "cut", Created: time.Unix(1, 0), Impairment: fault.Impairment{Partition: true}}
	for _, p := range all {
		switch p.Zone {
		case from:
			o.From = append(o.From, p.Name)
		case to:
			o.To = append(o.To, p.Name)
		}
	}
	return o
}

// BenchmarkNew plans for 200 pods in five zones, also while two of these don't reach each other.
func BenchmarkNew(b *testing.B) {
	for _, name := range []string{"topology", "cut"} {
		b.Run(name, func(b *testing.B) {
			all := manyPods()
			objects := []compile.Object{between(all, time.Millisecond)}
			if name == "cut" {
				objects = append(objects, cut(all, "a", "b"))
			}
			compiled(b, all, objects...)
			for b.Loop() {
				verify.New(all)
			}
		})
	}
}
