//go:build kernel

package netem

import (
	"encoding/binary"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// BenchmarkKernelApply changes a delay and reads it back.
func BenchmarkKernelApply(b *testing.B) {
	l := newLab(b)
	e := l.engine(nil)
	besideTC(b, l, "netem delay %dms", func(delay int) {
		set, err := fault.NewSet([]fault.Fault{matched("latency", fault.Match{Direction: fault.Egress}, time.Duration(delay)*ms)})
		l.must(err)
		l.must(e.Apply(set))
	})
}

// BenchmarkKernelRequests makes the same requests, and as many, on a kernel
// without netem: an htb stands in for the prio, a pfifo for the netem. Under User
// Mode Linux, where there is a netem, a system call takes thirty times as long
// as here, and Go asks for the time once for every request.
func BenchmarkKernelRequests(b *testing.B) {
	l := newLab(b)
	l.shell("tc qdisc add dev eth0 root handle 7de1: htb; tc class add dev eth0 parent 7de1: classid 7de1:2 htb rate 1gbit; tc qdisc add dev eth0 ingress")
	c, err := dial()
	l.must(err)
	defer c.close()
	for f := range families {
		for i, k := range exemptKeys(l.exempt, fault.Egress, f) {
			l.must(c.do(addFilter{link: device, family: f, node: firstNode + uint32(i), filter: filter{k, bandFirst}}))
		}
	}
	read := func(c *conn) {
		_, err := c.read([]string{device}, true)
		l.must(err)
		filters, err := c.filters(l.device.Index, handleRoot)
		l.must(err)
		if len(filters) < 10 {
			b.Fatalf("%d filters", len(filters))
		}
	}
	besideTC(b, l, "pfifo limit %d", func(limit int) {
		c, err := dial()
		l.must(err)
		defer c.close()
		read(c)
		l.must(c.do(setQdisc{link: device, kind: kindFIFO, parent: class(bandFirst), handle: netemHandle(bandFirst), options: binary.NativeEndian.AppendUint32(nil, uint32(limit))}))
		read(c)
	})
}

// besideTC takes the times of a change and of exec'ing tc to make one like it
// to a qdisc of its own and to show it, in turns.
func besideTC(b *testing.B, l *lab, qdisc string, change func(parameter int)) {
	l.shell("ip link add tc0 type veth peer name tc1")
	tc := func(command string) {
		if out, err := exec.CommandContext(b.Context(), "tc", strings.Fields(command)...).CombinedOutput(); err != nil {
			b.Fatalf("tc %s: %v: %s", command, err, out)
		}
	}
	var ours, theirs []time.Duration
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		change(20 + i%2)
		ours = append(ours, time.Since(start))
		start = time.Now()
		tc("qdisc replace dev tc0 root " + fmt.Sprintf(qdisc, 20+i%2))
		tc("qdisc show dev tc0")
		theirs = append(theirs, time.Since(start))
	}
	for _, q := range []struct {
		name  string
		share int
	}{{"p50", 50}, {"p99", 99}} {
		at := func(all []time.Duration) float64 {
			return float64(slices.Sorted(slices.Values(all))[len(all)*q.share/100]) / float64(ms)
		}
		b.ReportMetric(at(ours), "netlink-"+q.name+"-ms")
		b.ReportMetric(at(theirs), "tc-"+q.name+"-ms")
		b.ReportMetric(at(theirs)/at(ours), "ratio-"+q.name)
	}
}
