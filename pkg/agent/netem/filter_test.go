package netem

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Filters decide about packets as fault.FaultFor does, for each part of a match
// and in both directions.
func TestFiltersMatchWhatTheFaultsSay(t *testing.T) {
	for name, m := range map[string]fault.Match{
		"everything":          {},
		"an IPv4 peer":        {Peers: prefixes("10.0.0.9/32")},
		"an IPv4 network":     {Peers: prefixes("10.0.0.0/23")},
		"an IPv6 peer":        {Peers: prefixes("fd00::9/128")},
		"IPv6 networks":       {Peers: prefixes("fd00::/33", "2001:db8::/97")},
		"all of IPv4":         {Peers: prefixes("0.0.0.0/0")},
		"all of IPv6":         {Peers: prefixes("::/0")},
		"TCP":                 {Protocol: "tcp"},
		"UDP":                 {Protocol: "udp"},
		"ICMP":                {Protocol: "icmp"},
		"a remote port":       {RemotePorts: portRange(20160, 20160)},
		"a local range":       {LocalPorts: portRange(4000, 4001)},
		"both sides":          {RemotePorts: portRange(20000, 65535), LocalPorts: portRange(1, 20180)},
		"all of it":           {Peers: prefixes("10.0.0.0/8", "fd00::/8"), Protocol: "tcp", RemotePorts: portRange(20160, 20161), LocalPorts: portRange(4000, 20180)},
		"a peer and UDP":      {Peers: prefixes("192.168.7.7/32"), Protocol: "udp"},
		"every port of IPv6":  {Peers: prefixes("fd00:1::9/128"), LocalPorts: portRange(1, 65535)},
		"the node and a port": {Peers: prefixes("10.0.0.1/32"), LocalPorts: portRange(4000, 4000)},
	} {
		for _, p := range []attachPoint{egress, ingress} {
			m.Direction = p.direction
			k := newFake(t)
			e := k.engine(nil)
			faults := []fault.Fault{matched("x", m, 20*time.Millisecond)}
			if err := e.Apply(faults); err != nil {
				t.Fatal(err)
			}
			for _, pkt := range packets {
				if got, want := k.verdict(p, pkt), expect(e, faults, p, pkt); got != want {
					t.Errorf("%s, %s: packet %s: %+v, want %+v", name, p, pkt, got, want)
				}
			}
		}
	}
}

// Filters compare bytes at fixed offsets. In packets that have something else
// there, they must not match by accident.
func TestFiltersOnUnusualPackets(t *testing.T) {
	k := newFake(t)
	e := k.engine(nil)
	late := everything("late", fault.Both, 20*time.Millisecond)
	ported := matched("ported", fault.Match{Direction: fault.Both, RemotePorts: portRange(5000, 5000)}, time.Second)
	if err := e.Apply([]fault.Fault{late, ported}); err != nil {
		t.Fatal(err)
	}
	bands := e.applied.bands[egress]
	control := packet{Packet: fault.Packet{Peer: netip.MustParseAddr("10.0.0.9"), Protocol: "tcp", Local: 2332, Remote: 1}}
	remote := packet{Packet: fault.Packet{Peer: netip.MustParseAddr("10.0.0.9"), Protocol: "udp", Local: 1, Remote: 5000}}
	later := func(b []byte) []byte { b[7] = 1; return b }
	first := func(b []byte) []byte { b[6] = 0x20; return b } // more fragments follow
	withOptions := func(b []byte) []byte { b[0] = 0x46; return b }
	for name, c := range map[string]struct {
		b    []byte
		want uint8
	}{
		"the control port":                     {control.bytes(fault.Egress), bandClean},
		"the control port, first fragment":     {first(control.bytes(fault.Egress)), bandClean},
		"a later fragment like it":             {later(control.bytes(fault.Egress)), bands["late"]},
		"options where the ports would be":     {withOptions(control.bytes(fault.Egress)), bands["late"]},
		"a remote port":                        {remote.bytes(fault.Egress), bands["ported"]},
		"its later fragments":                  {later(remote.bytes(fault.Egress)), bands["late"]},
		"a protocol without ports like TCP":    {[]byte("\x45aaaaaaaa\x84aaaaaaaaaa\x09\x1c\x00\x01"), bands["late"]},
		"a packet that ends within the header": {control.bytes(fault.Egress)[:20], bands["late"]},
	} {
		if got := k.classify(egress, ipv4, c.b); got != c.want {
			t.Errorf("%s: band %d, want %d", name, got, c.want)
		}
	}
	// No filter is for what is neither IPv4 nor IPv6.
	for f := range families {
		if f.protocol() != unix.ETH_P_IP && f.protocol() != unix.ETH_P_IPV6 {
			t.Errorf("filters for protocol %#x", f.protocol())
		}
	}
}

func TestU32SurvivesTheKernelsFormat(t *testing.T) {
	for _, k := range []keys{nil, {{offset: 16, mask: 0xff000000, value: 0x0a000000}}, {{offset: 0, mask: 1, value: 1}, {offset: 4, mask: 0x1fff}, {offset: 36, mask: 0xffffffff, value: 7}}} {
		message := append(tcMsg(3, handleRoot, 0x800<<20|7, filterInfo(priority(1, ipv6), ipv6)).Serialize(), kindAttr(kindU32).Serialize()...)
		message = append(message, encodeFilter(filter{k, 5}, 0).Serialize()...)
		got, err := parseFilter(message)
		if err != nil || got.isTable || !got.simple || got.node != 7 || got.protocol != unix.ETH_P_IPV6 || got.classID != class(5) || !got.keys.equal(k) || got.redirect != -1 {
			t.Errorf("%v became %+v, %v", k, got, err)
		}
		if block, f, known := blockOf(got.priority); block != 1 || f != ipv6 || !known {
			t.Errorf("priority %d is block %d of %s", got.priority, block, f)
		}
	}
	message := append(tcMsg(3, handleIngress, firstNode, filterInfo(priority(0, ipv4), ipv4)).Serialize(), kindAttr(kindU32).Serialize()...)
	got, err := parseFilter(append(message, encodeRedirect(77).Serialize()...))
	if err != nil || got.redirect != 77 || got.simple || len(got.keys) > 0 {
		t.Errorf("redirect became %+v, %v", got, err)
	}
}

// A link's name has at most fifteen bytes. Each index needs another name.
func TestIFBNames(t *testing.T) {
	seen := make(map[string]int)
	for _, index := range []int{1, 2, 10, 99_999_999, 100_000_000, 268_435_456, 1<<31 - 1} {
		name := ifbName(index)
		if other, known := seen[name]; known || len(name) > unix.IFNAMSIZ-1 {
			t.Errorf("index %d: %q (%d bytes, also of %d)", index, name, len(name), other)
		}
		seen[name] = index
	}
}
