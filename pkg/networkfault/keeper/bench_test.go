package keeper

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
)

// BenchmarkFleet sets 1,000 TidbClusters of 10 agents with 2 faults each, until all have
// confirmed them. The agents answer at once, so that it is the Keeper that is measured,
// and what the made-up agents need in memory is not counted.
func BenchmarkFleet(b *testing.B) {
	const clusters, agents = 1000, 10
	var bytes, took float64
	for b.Loop() {
		var confirmed atomic.Int64
		all := make(chan struct{})
		k, f := newKeeper(b, func(o *Options) {
			o.Log = logr.Discard()
			o.Changed = func(types.NamespacedName) {
				if confirmed.Add(1) == clusters*agents {
					close(all)
				}
			}
		})
		targets := fleetTargets(clusters, agents)
		before := heap()
		stop := run(b, k)
		start := time.Now()
		for c := range targets {
			k.Set(types.NamespacedName{Namespace: "n", Name: fmt.Sprintf("c-%d", c)}, targets[c])
		}
		<-all
		took += time.Since(start).Seconds()
		f.mu.Lock()
		f.asked, f.nowAt, f.mostAt, f.holds = nil, map[netip.Addr]int{}, map[netip.Addr]int{}, map[netip.Addr]map[string]kept{}
		f.mu.Unlock()
		bytes += heap() - before
		if count := k.outOfStep(); count != 0 {
			b.Fatalf("%v agents are out of step", count)
		}
		stop()
		runtime.KeepAlive(targets)
	}
	b.ReportMetric(bytes/float64(b.N)/(clusters*agents), "B/target")
	b.ReportMetric(took/float64(b.N)*1000, "ms/fleet")
}

// heap returns how many bytes are in use.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) + float64(m.StackInuse)
}

func fleetTargets(clusters, agents int) [][]Target {
	all := make([][]Target, clusters)
	for c := range all {
		for n := range agents {
			t := target(byte(n), delay("a.0123456789", time.Millisecond, time.Time{}), delay("b.0123456789", time.Millisecond, time.Time{}))
			t.Addr = netip.AddrFrom4([4]byte{10, byte(n), byte(c >> 8), byte(c)})
			all[c] = append(all[c], t)
		}
	}
	return all
}
