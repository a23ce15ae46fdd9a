package netem

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// packet is a packet from the pod's view.
type packet struct {
	fault.Packet
	// icmpType is for ICMPv6 only.
	icmpType byte
	// jumbo is a TCP segment of IPv6 with more than 64 KiB.
	jumbo bool
	// raw has its bytes, by direction.
	raw map[fault.Direction][]byte
}

func (p packet) String() string {
	return fmt.Sprintf("%s %s remote %d local %d type %d jumbo %t", p.Protocol, p.Peer, p.Remote, p.Local, p.icmpType, p.jumbo)
}

var protocolNumbers = map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "icmp": unix.IPPROTO_ICMP, "sctp": unix.IPPROTO_SCTP}

// bytes is the packet as it passes in a direction. Fields that must not matter
// are not zero.
func (p packet) bytes(direction fault.Direction) []byte {
	source, destination, remote := p.Local, p.Remote, 16
	if direction == fault.Ingress {
		source, destination, remote = p.Remote, p.Local, 12
	}
	var b []byte
	rest := 20
	if p.Peer.Is4() {
		b = make([]byte, 40)
		b[0], b[1], b[4], b[5], b[8], b[10] = 0x45, 0xb8, 0x12, 0x34, 64, 0xff
		b[9] = protocolNumbers[p.Protocol]
	} else {
		b = make([]byte, 60)
		b[0], b[1], b[4], b[7] = 0x6b, 0x80, 0x12, 64
		b[6] = protocolNumbers[p.Protocol]
		if p.Protocol == "icmp" {
			b[6] = unix.IPPROTO_ICMPV6
		}
		rest, remote = 40, map[int]int{16: 24, 12: 8}[remote]
	}
	copy(b[remote:], p.Peer.AsSlice())
	if p.jumbo {
		b[4], b[5], b[6] = 0, 0, 0
		b = append(b[:rest], append([]byte{protocolNumbers[p.Protocol], 0, 0xc2, 4, 0, 1, 0x86, 0xa0}, b[rest:]...)...)
		rest += 8
	}
	binary.BigEndian.PutUint16(b[rest:], source)
	binary.BigEndian.PutUint16(b[rest+2:], destination)
	if p.icmpType != 0 {
		b[rest] = p.icmpType
	}
	return b
}

// packets are all combinations of a few peers, protocols and ports.
var packets = makePackets()

func makePackets() []packet {
	var all []packet
	for _, peer := range []string{"10.0.0.1", "10.0.0.9", "10.0.1.9", "192.168.7.7", "fd00::1", "fd00::9", "fd00:1::9", "2001:db8::1"} {
		addr := netip.MustParseAddr(peer)
		for _, protocol := range []string{"tcp", "udp"} {
			for _, ports := range [][2]uint16{{2332, 40000}, {40000, 2332}, {40000, 4000}, {4000, 40000}, {20160, 20180}, {20161, 4001}, {1, 65535}} {
				one := packet{Packet: fault.Packet{Peer: addr, Protocol: protocol, Remote: ports[0], Local: ports[1]}}
				all = append(all, one)
				if one.jumbo = addr.Is6() && protocol == "tcp"; one.jumbo {
					all = append(all, one)
				}
			}
		}
		all = append(all, packet{Packet: fault.Packet{Peer: addr, Protocol: "sctp", Remote: 0}})
		for _, icmpType := range []byte{8, 128, 135, 143} {
			all = append(all, packet{Packet: fault.Packet{Peer: addr, Protocol: "icmp"}, icmpType: icmpType})
		}
	}
	for i, pkt := range all {
		all[i].raw = map[fault.Direction][]byte{fault.Egress: pkt.bytes(fault.Egress), fault.Ingress: pkt.bytes(fault.Ingress)}
	}
	return all
}
