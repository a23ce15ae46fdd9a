package keeper

import (
	"fmt"
	"net/netip"
	"runtime"
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
		f := fleetTargets(clusters, agents)
		k, agentsOf := newKeeper(b, func(o *Options) { o.Log = logr.Discard() })
		stop := run(b, k)
		before := heap()
		start := time.Now()
		for c, targets := range f {
			k.Set(types.NamespacedName{Namespace: "n", Name: fmt.Sprintf("c-%d", c)}, targets)
		}
		for k.outOfStep() > 0 {
			runtime.Gosched()
		}
		took += time.Since(start).Seconds()
		agentsOf.mu.Lock()
		agentsOf.asked, agentsOf.changed, agentsOf.nowAt, agentsOf.mostAt, agentsOf.holds = nil, nil, nil, nil, nil
		agentsOf.mu.Unlock()
		bytes += heap() - before
		stop()
		runtime.KeepAlive(f)
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
