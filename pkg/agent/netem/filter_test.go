package netem

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/fault"
)

// classify does what the kernel does with the filters: the first that matches
// in order of priority decides, and without one the packet is clean.
func classify(filters []filter, protocol uint16, packet []byte) uint32 {
	for _, f := range sorted(filters) {
		if f.protocol != protocol {
			continue
		}
		matches := true
		for _, k := range f.keys {
			if int(k.offset)+4 > len(packet) || binary.BigEndian.Uint32(packet[k.offset:])&k.mask != k.value {
				matches = false
			}
		}
		if matches {
			return f.band
		}
	}
	return bandClean
}

func ipv4(protocol byte, dst string, sport, dport uint16) []byte {
	p := make([]byte, 40)
	p[0], p[9] = 0x45, protocol
	p[1], p[4], p[5], p[8], p[10] = 0xb8, 0x12, 0x34, 64, 0xff // fields that must not matter
	addr := netip.MustParseAddr(dst).As4()
	copy(p[16:], addr[:])
	binary.BigEndian.PutUint16(p[20:], sport)
	binary.BigEndian.PutUint16(p[22:], dport)
	return p
}

func ipv6(next byte, dst string, sport, dport uint16) []byte {
	p := make([]byte, 60)
	p[0], p[1], p[4], p[6], p[7] = 0x6b, 0x80, 0x12, next, 64
	addr := netip.MustParseAddr(dst).As16()
	copy(p[24:], addr[:])
	binary.BigEndian.PutUint16(p[40:], sport)
	binary.BigEndian.PutUint16(p[42:], dport)
	return p
}

func TestFiltersDecideWhatIsDelayed(t *testing.T) {
	filters := append(exemptFilters(fault.Exemption{
		ControlPort: 2332,
		NodeAddrs:   []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")},
		ProbePorts:  []uint16{4000, 10080},
	}), switchFilters()...)
	const other, node, node6, other6 = "10.0.0.9", "10.0.0.1", "fd00::1", "fd00::9"
	fragment := ipv4(unix.IPPROTO_TCP, other, 2332, 1)
	fragment[7] = 1
	options := ipv4(unix.IPPROTO_TCP, other, 2332, 1)
	options[0] = 0x46
	arp := make([]byte, 28)
	for name, c := range map[string]struct {
		protocol uint16
		packet   []byte
		want     uint32
	}{
		"TCP":                                  {unix.ETH_P_IP, ipv4(unix.IPPROTO_TCP, other, 4000, 40000), bandDelayed},
		"TCP, IPv6":                            {unix.ETH_P_IPV6, ipv6(unix.IPPROTO_TCP, other6, 4000, 40000), bandDelayed},
		"ping":                                 {unix.ETH_P_IP, ipv4(unix.IPPROTO_ICMP, node, 0, 0), bandDelayed},
		"ping, IPv6":                           {unix.ETH_P_IPV6, ipv6(unix.IPPROTO_ICMPV6, node6, 129<<8, 0), bandDelayed},
		"the control port's answers":           {unix.ETH_P_IP, ipv4(unix.IPPROTO_TCP, other, 2332, 40000), bandClean},
		"the control port's answers, IPv6":     {unix.ETH_P_IPV6, ipv6(unix.IPPROTO_TCP, other6, 2332, 40000), bandClean},
		"asking another pod's agent":           {unix.ETH_P_IP, ipv4(unix.IPPROTO_TCP, other, 40000, 2332), bandClean},
		"asking another pod's agent, IPv6":     {unix.ETH_P_IPV6, ipv6(unix.IPPROTO_TCP, other6, 40000, 2332), bandClean},
		"UDP from the control port's number":   {unix.ETH_P_IP, ipv4(unix.IPPROTO_UDP, other, 2332, 2332), bandDelayed},
		"a later fragment that looks like it":  {unix.ETH_P_IP, fragment, bandDelayed},
		"options where the ports would be":     {unix.ETH_P_IP, options, bandDelayed},
		"an answer to a probe":                 {unix.ETH_P_IP, ipv4(unix.IPPROTO_TCP, node, 4000, 40000), bandClean},
		"an answer to a probe, IPv6":           {unix.ETH_P_IPV6, ipv6(unix.IPPROTO_TCP, node6, 10080, 40000), bandClean},
		"the same port to somebody else":       {unix.ETH_P_IP, ipv4(unix.IPPROTO_TCP, other, 4000, 40000), bandDelayed},
		"the node, from another port":          {unix.ETH_P_IP, ipv4(unix.IPPROTO_TCP, node, 5000, 4000), bandDelayed},
		"the pod as the node's client":         {unix.ETH_P_IP, ipv4(unix.IPPROTO_TCP, node, 40000, 4000), bandDelayed},
		"UDP to the node from a probed port":   {unix.ETH_P_IP, ipv4(unix.IPPROTO_UDP, node, 4000, 40000), bandDelayed},
		"a neighbour solicitation":             {unix.ETH_P_IPV6, ipv6(unix.IPPROTO_ICMPV6, other6, 135<<8, 0), bandClean},
		"a neighbour advertisement":            {unix.ETH_P_IPV6, ipv6(unix.IPPROTO_ICMPV6, other6, 136<<8, 0), bandClean},
		"a redirect":                           {unix.ETH_P_IPV6, ipv6(unix.IPPROTO_ICMPV6, other6, 137<<8, 0), bandClean},
		"a multicast listener report":          {unix.ETH_P_IPV6, ipv6(unix.IPPROTO_ICMPV6, other6, 143<<8, 0), bandDelayed},
		"UDP that looks like a solicitation":   {unix.ETH_P_IPV6, ipv6(unix.IPPROTO_UDP, other6, 135<<8, 0), bandDelayed},
		"ARP":                                  {unix.ETH_P_ARP, arp, bandClean},
		"something that is neither IP nor ARP": {unix.ETH_P_PAE, arp, bandClean},
	} {
		if got := classify(filters, c.protocol, c.packet); got != c.want {
			t.Errorf("%s: band %#x, want %#x", name, got, c.want)
		}
	}
}

func TestSameFilters(t *testing.T) {
	a := append(exemptFilters(fault.Exemption{ControlPort: 2332}), switchFilters()...)
	b := append(switchFilters(), exemptFilters(fault.Exemption{ControlPort: 2332})...)
	if !sameFilters(a, b) {
		t.Error("the order of filters matters")
	}
	for name, other := range map[string][]filter{
		"one missing":  a[1:],
		"another port": append(exemptFilters(fault.Exemption{ControlPort: 2333}), switchFilters()...),
		"one twice":    append(slices.Clip(a), a[0]),
		"none":         nil,
	} {
		if sameFilters(a, other) {
			t.Errorf("%s: taken for the same", name)
		}
	}
}
