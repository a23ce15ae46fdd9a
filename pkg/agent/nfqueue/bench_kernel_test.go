//go:build linux && kernel

package nfqueue

import (
	"testing"
	"time"

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
			a := here.start(b, fault.Exemption{})
			if f != nil {
				a.apply(*f)
			}
			flow := udp(here, there, b.N, time.Second)
			b.ResetTimer()
			got := flow.Run(b)
			if last := len(got.Arrivals); last > 0 {
				b.ReportMetric(float64(last)/got.Arrivals[last-1].At.Seconds(), "packets/s")
			}
			b.ReportMetric(float64(len(got.Lost())), "lost")
			if f != nil {
				b.ReportMetric(float64(a.counters(*f).Overlimits), "early")
			}
		})
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
