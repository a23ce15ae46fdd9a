package safety

import (
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// The largest cluster that is judged, and the most replicas.
func BenchmarkJudge(b *testing.B) {
	tc, pods := healthy(map[tidbcluster.Component]int{tidbcluster.PD: maxMembers, tidbcluster.TiKV: 100, tidbcluster.TiDB: 91})
	configure(tc, "replication.max-replicas", int64(mostReplicas))
	for name, apart := range map[string]func(a, b int) bool{
		"isolated":  func(_, b int) bool { return b >= 192 }, // TiKV is last
		"all":       func(int, int) bool { return true },
		"triangles": func(a, b int) bool { return a >= 185 && (a-185)/3 == (b-185)/3 },
	} {
		effects := make(map[compile.Pair]compile.Effect)
		for i, p := range pods {
			for j := range i {
				if apart(j, i) {
					effects[compile.Pair{A: min(p.Name, pods[j].Name), B: max(p.Name, pods[j].Name)}] = compile.Effect{Partition: true}
				}
			}
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Judge(FactsOf(tc, pods), []Object{{Name: "a", Length: time.Minute}, {Name: "b", Length: time.Minute}}, func([]string) map[compile.Pair]compile.Effect { return effects })
			}
		})
	}
}
