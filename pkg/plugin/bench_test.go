package plugin_test

import (
	"testing"
)

// BenchmarkStatus shows a TidbCluster of eight pods, with all agents answering: what the plugin
// itself takes, beside an API server that answers at once. It is to be far below a second.
func BenchmarkStatus(b *testing.B) {
	w := newWorld(b)
	for b.Loop() {
		if status := w.run(b.Context(), "status", "basic"); status != 0 {
			b.Fatal(w.errOut.String())
		}
	}
}
