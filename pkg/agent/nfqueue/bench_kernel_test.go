//go:build linux && kernel

package nfqueue

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/fault"
)

// BenchmarkKernelPackets sends small datagrams as fast as one socket can and
// reports how many a second reach the other pod.
func BenchmarkKernelPackets(b *testing.B) {
	for _, delay := range []time.Duration{0, 20 * time.Millisecond} {
		b.Run(delay.String(), func(b *testing.B) {
			here, there := newPods(b)
			receiver := there.udp(b, there.v4, otherPort, time.Second)
			sender := here.udp(b, here.v4, 0, time.Second)
			a := here.start(b, fault.Exemption{})
			if delay > 0 {
				a.set(delay)
			}
			to, datagram := sockaddr(there.v4, otherPort), make([]byte, 64)
			b.ResetTimer()
			go func() {
				for range b.N {
					_ = unix.Sendto(sender, datagram, 0, to)
				}
			}()
			buffer, arrived := make([]byte, 64), 0
			for arrived < b.N {
				if _, err := receive(receiver, buffer); err != nil {
					break
				}
				arrived++
			}
			b.ReportMetric(float64(arrived)/b.Elapsed().Seconds(), "packets/s")
			b.ReportMetric(float64(b.N-arrived), "lost")
			b.ReportMetric(float64(a.state().Counters.Overlimits), "early")
		})
	}
}
