//go:build linux && kernel

package nfqueue

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// BenchmarkKernelPackets sends small datagrams as fast as one socket can and
// reports how many a second reach the other pod.
func BenchmarkKernelPackets(b *testing.B) {
	for name, f := range map[string]*api.Fault{
		"none":   nil,
		"delay":  {Name: fault.Latency, Delay: "20ms"},
		"jitter": {Name: fault.Latency, Delay: "20ms", Jitter: "1ms"},
	} {
		b.Run(name, func(b *testing.B) {
			here, there := newPods(b)
			receiver := there.udp(b, there.v4, otherPort, time.Second)
			sender := here.udp(b, here.v4, 0, time.Second)
			a := here.start(b, fault.Exemption{})
			if f != nil {
				a.apply(*f)
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
			if f != nil {
				b.ReportMetric(float64(a.counters(*f).Overlimits), "early")
			}
		})
	}
}

// BenchmarkKernelStream reports what one TCP connection carries.
func BenchmarkKernelStream(b *testing.B) {
	here, there := newPods(b)
	a := here.start(b, fault.Exemption{})
	a.set(20 * time.Millisecond)
	for b.Loop() {
		b.ReportMetric(here.stream(b, there.listen(b, there.v4, 0), 3*time.Second)/1e6, "Mbit/s")
	}
}

// BenchmarkKernelApply changes a delay: rules written, if any, and read back.
func BenchmarkKernelApply(b *testing.B) {
	here, _ := newPods(b)
	a := here.start(b, fault.Exemption{})
	for i := 0; b.Loop(); i++ {
		a.set(time.Duration(20+i%2) * time.Millisecond)
	}
}
