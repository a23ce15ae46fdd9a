//go:build kernel

package netem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// BenchmarkKernelPeers sends small datagrams below filters for more and more peers,
// to the one that comes last and to one that is not among them, with the filters
// hashed and in one list. The ratio is to the same with one peer. Like
// BenchmarkKernelRequests it needs no netem.
func BenchmarkKernelPeers(b *testing.B) {
	const burst = 500
	l := newLab(b)
	for f := range families {
		for _, hashed := range []bool{true, false} {
			for _, meets := range []bool{true, false} {
				one := 0.0
				for _, count := range []int{1, 10, 100, 500} {
					b.Run(fmt.Sprintf("%s,hashed=%t,meets=%t,peers=%d", f, hashed, meets, count), func(b *testing.B) {
						l.pod.Enter(b) // a goroutine of its own
						l.addPeerFilters(f, hashed, meets, count)
						conn, err := net.Dial("udp", net.JoinHostPort(l.node.Address(f == ipv6), "7009"))
						l.must(err)
						defer conn.Close()
						least := time.Hour // for that many: nothing else but other work makes it longer
						for b.Loop() {
							start := time.Now()
							for range burst {
								if _, err := conn.Write(make([]byte, 18)); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
									b.Fatal(err)
								}
							}
							least = min(least, time.Since(start))
						}
						each := float64(least) / burst
						if count == 1 {
							one = each
						}
						b.ReportMetric(each, "least-ns/packet")
						b.ReportMetric(each/one, "one-peer-ratio")
					})
				}
			}
		}
	}
}

// addPeerFilters adds the exemptions and a filter for each of some peers below an htb.
// The node is the last one, if it is met.
func (l *lab) addPeerFilters(f family, hashed, meets bool, count int) {
	l.t.Helper()
	l.shell("tc qdisc replace dev eth0 root handle 1: pfifo; tc qdisc replace dev eth0 root handle 7de1: htb default 1; " +
		"tc class add dev eth0 parent 7de1: classid 7de1:1 htb rate 100gbit; tc class add dev eth0 parent 7de1: classid 7de1:2 htb rate 100gbit")
	var list []filter
	for _, k := range exemptKeys(l.exempt, fault.Egress, f) {
		list = append(list, filter{k, bandClean})
	}
	for i := range count {
		address := netip.AddrFrom4([4]byte{10, 0, byte(i / 250), byte(1 + i%250)})
		if f == ipv6 {
			address = netip.AddrFrom16([16]byte{0xfd, 14: byte(i / 250), 15: byte(1 + i%250)})
		}
		if meets && i == count-1 {
			address = netip.MustParseAddr(l.node.Address(f == ipv6))
		}
		list = append(list, filter{addressKeys(headerOf(f).destination, netip.PrefixFrom(address, address.BitLen())), bandFirst})
	}
	c, err := dial()
	l.must(err)
	defer c.close()
	ops := addBlock(device, f, 0, list)
	if !hashed {
		ops = nil
		for i, one := range list {
			ops = append(ops, addFilter{link: device, family: f, node: nodeNumber(i), filter: one})
		}
	}
	for _, o := range ops {
		l.must(c.do(o))
	}
	var tree foundTree
	found, err := c.filters(l.device.Index, handleRoot)
	l.must(err)
	if tree.addFilters(found); tree.foreignInside != "" || !sameFilters(tree.filters(f), list) {
		l.t.Fatalf("%d filters became %d, foreign: %q", len(list), len(tree.filters(f)), tree.foreignInside)
	}
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
