package surveyor

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

// BenchmarkMemory is what 1,000 TidbClusters of 10 agents with 2 tasks each need in memory,
// beside their tasks' names.
func BenchmarkMemory(b *testing.B) {
	const clusters, agents, tasks = 1000, 10, 2
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	var bytes float64
	for b.Loop() {
		s, err := New(Options{Changed: func(types.NamespacedName) {}, Metrics: prometheus.NewRegistry(), Log: logr.Discard()})
		if err != nil {
			b.Fatal(err)
		}
		all := make([][]Assignment, clusters)
		for c := range all {
			for a := range agents {
				all[c] = append(all[c], assignment(c*agents+a, tasks))
			}
		}
		before := heap()
		for c, some := range all {
			s.Set(types.NamespacedName{Namespace: "many", Name: fmt.Sprint(c)}, some)
		}
		bytes += heap() - before
		runtime.KeepAlive(all)
		runtime.KeepAlive(s)
	}
	b.ReportMetric(bytes/float64(b.N)/1e6, "MB")
}
