package decide_test

import (
	"testing"

	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// BenchmarkDecide decides about a TidbCluster of 8 pods with two faults that run, as after
// each change of one of its pods.
func BenchmarkDecide(b *testing.B) {
	w := newWorld(b)
	for name, spec := range map[string]string{
		"slow":  `{"from":["pd(leader)"],"rtt":"50ms","duration":"10m"}`,
		"lossy": `{"from":["tikv(0)"],"loss":{"percent":1},"untilDeleted":true}`,
	} {
		f := w.fault(name, spec)
		f.Status = decide.Decide(w.Input).Statuses[name]
	}
	for b.Loop() {
		decide.Decide(w.Input)
	}
}
