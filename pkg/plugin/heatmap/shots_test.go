package heatmap_test

import (
	"bytes"
	"os"
	"fmt"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin/heatmap"
	"github.com/tidelay/tidelay/pkg/plugin/measured"
	"github.com/tidelay/tidelay/pkg/plugin/measured/measuredtest"
)

func page(t *testing.T, n int, by measured.By) []byte {
	c := measuredtest.Cluster(n)
	if n > 3 {
		measuredtest.Topology(c, "1ms", "20ms")
	}
	measuredtest.Fault(c, "cut", "partition", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"pd(0)"}, To: []v1alpha1.Selector{"pd(1)"}, Partition: true})
	measuredtest.Fault(c, "slow", "+150ms RTT", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"pd(2)"}, To: []v1alpha1.Selector{"tidb(0)"}, RTT: "150ms", Jitter: "10ms"})
	c.Pods[n-1].Facts.Agent = n <= 3
	m := measured.Of(c, measuredtest.Now)
	i := 0
	measuredtest.Measure(m, func(p *measured.Pair) time.Duration {
		i++
		rtt := measuredtest.AsAsked(p)
		if rtt > 0 { rtt += time.Duration(i*7919%400) * time.Microsecond }
		switch {
		case i%37 == 5, i%37 == 6: return rtt + time.Duration(i%90+5)*time.Millisecond
		case i%101 == 50, i%101 == 51: return 0
		}
		return rtt
	})
	fmt.Println(m.Summary(), len(m.InForce), m.InForce)
	var b bytes.Buffer
	if err := heatmap.Write(&b, m.By(by)); err != nil { t.Fatal(err) }
	return b.Bytes()
}

func TestShots(t *testing.T) {
	for _, n := range []int{3, 8, 20, 60} {
		_ = os.WriteFile(fmt.Sprintf("/tmp/w14/matrix-%d.html", n), page(t, n, measured.ByPod), 0o644)
	}
	_ = os.WriteFile("/tmp/w14/matrix-zone.html", page(t, 20, measured.ByZone), 0o644)
	_ = os.WriteFile("/tmp/w14/matrix-component.html", page(t, 20, measured.ByComponent), 0o644)
}
