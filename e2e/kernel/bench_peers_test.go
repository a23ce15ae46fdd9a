//go:build kernel

package kernel

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// BenchmarkPeers sends small datagrams as fast as it can under a fault for more
// and more peers, in two rows each: to the peer that an engine looks at last, and
// to one that is not among them, whose packets pass. The ratio is to the same
// with one peer.
func BenchmarkPeers(b *testing.B) {
	for _, meets := range []bool{true, false} {
		what := map[bool]string{true: "meets", false: "passes"}[meets]
		var one float64
		for _, count := range []int{1, 10, 100, 500} {
			b.Run(fmt.Sprintf("%s/%d", what, count), func(b *testing.B) {
				a := freshAgent(b)
				peers := manyPeers(count)
				if meets {
					peers[0] = a.lab.node.IP
				}
				for b.Loop() {
					a.apply(api.Fault{Name: "many", Peers: peers, Protocol: "udp", Delay: "1ms"})
					perSecond := flood(b, a.lab.pod, a.lab.node, 3*time.Second).perSecond()
					if count == 1 {
						one = perSecond
					}
					b.ReportMetric(perSecond, "packets/s")
					b.ReportMetric(one/perSecond, "one-peer-ratio")
				}
			})
		}
	}
}

// manyPeers returns addresses that sort before any of the lab.
func manyPeers(count int) []string {
	var all []string
	for i := range count {
		all = append(all, fmt.Sprintf("10.0.%d.%d", i/250, i%250+1))
	}
	return all
}
