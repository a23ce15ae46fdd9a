package netem

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// key compares four bytes of the packet, as a big-endian number. The offset is in
// bytes from the start of the IP header. Equivalent to
// `match u32 value mask at offset`.
type key struct {
	offset      int32
	mask, value uint32
}

// keys must all match. An empty list matches every packet of the family.
type keys []key

func (k keys) equal(l keys) bool { return slices.Equal(k, l) }

// String writes the keys as tc's options of a u32 filter.
func (k keys) String() string {
	if len(k) == 0 {
		return "match u32 0 0"
	}
	parts := make([]string, 0, len(k))
	for _, one := range k {
		parts = append(parts, fmt.Sprintf("match u32 0x%08x 0x%08x at %d", one.value, one.mask, one.offset))
	}
	return strings.Join(parts, " ")
}

// header says where a family's packets have what filters compare. Offsets are in
// bytes from the start of the IP header.
type header struct {
	family              family
	source, destination int32 // the addresses
	transport           int32 // what follows the IP header
	protocol            int32 // the four bytes that have the protocol
	protocolShift       int   // where in them, in bits
	// jumbo is set for IPv6 packets of TCP that are longer than 64 KiB. The kernel
	// makes them where gso_max_size allows it (BIG TCP), with a hop-by-hop header
	// that has the length (struct hop_jumbo_hdr in include/net/ipv6.h).
	jumbo bool
}

func headerOf(f family) header {
	if f == ipv6 {
		return header{family: ipv6, source: 8, destination: 24, transport: 40, protocol: 4, protocolShift: 8}
	}
	return header{family: ipv4, source: 12, destination: 16, transport: 20, protocol: 8, protocolShift: 16}
}

// sizeJumbo is the size of the hop-by-hop header of a jumbo packet.
const sizeJumbo = 8

// headersOf returns all that headers of a family's packets of a protocol can be.
func headersOf(f family, protocol uint8) []header {
	plain := headerOf(f)
	if f != ipv6 || protocol != unix.IPPROTO_TCP {
		return []header{plain}
	}
	jumbo := plain
	jumbo.jumbo, jumbo.transport = true, plain.transport+sizeJumbo
	return []header{plain, jumbo}
}

// addressKeys compares the address at an offset with a prefix. A prefix of no
// bits takes no key.
func addressKeys(offset int32, prefix netip.Prefix) keys {
	var all keys
	addr := prefix.Addr().AsSlice()
	for bits := prefix.Bits(); bits > 0; bits -= 32 {
		mask := ^uint32(0) << (32 - min(bits, 32))
		all = append(all, key{offset: offset, mask: mask, value: binary.BigEndian.Uint32(addr) & mask})
		addr, offset = addr[4:], offset+4
	}
	return all
}

// protocolKeys compares the protocol. In a jumbo packet the IP header has the
// length and the next header 0, and the hop-by-hop header of 8 bytes has the
// protocol, then the option "jumbo payload" (0xc2) with a length of 4 (RFC 2675).
func (h header) protocolKeys(number uint8) keys {
	if h.jumbo {
		return keys{{offset: h.protocol, mask: 0xffffff00}, {offset: h.transport - sizeJumbo, mask: 0xffffffff, value: uint32(number)<<24 | 0xc204}}
	}
	return keys{{offset: h.protocol, mask: 0xff << h.protocolShift, value: uint32(number) << h.protocolShift}}
}

// portKeys compares the ports of a protocol that has them. In IPv4 they are where
// the keys look only if the header has no options, and only in the first
// fragment; the keys check both.
func (h header) portKeys(protocol uint8, source, destination portPattern) keys {
	all := append(h.protocolKeys(protocol), key{
		offset: h.transport,
		mask:   uint32(source.mask)<<16 | uint32(destination.mask),
		value:  uint32(source.value)<<16 | uint32(destination.value),
	})
	if h.family == ipv4 {
		all = append(all, key{offset: 0, mask: 0x0f000000, value: 0x05000000}, key{offset: 4, mask: 0x00001fff})
	}
	return all
}

// sorted returns the keys in the order of their offsets.
func (k keys) sorted() keys {
	return slices.SortedFunc(slices.Values(k), func(a, b key) int { return cmp.Compare(a.offset, b.offset) })
}

// familyOf returns the family of packets that are of IPv6, or not.
func familyOf(v6 bool) family {
	if v6 {
		return ipv6
	}
	return ipv4
}

// termKeys returns the keys of the filters that together match one term of a
// fault.
func termKeys(t fault.Term, direction fault.Direction) []keys {
	f := familyOf(t.V6)
	h := headerOf(f)
	remote, remotes, locals := h.destination, coverPorts(t.Remote), coverPorts(t.Local)
	if direction == fault.Ingress {
		remote = h.source
	}
	base := keys{}
	if t.Peer.IsValid() {
		base = addressKeys(remote, t.Peer)
	}
	if t.Protocol == 0 {
		return []keys{base.sorted()}
	}
	anyPort := remotes[0] == portPattern{} && locals[0] == portPattern{}
	var all []keys
	for _, h := range headersOf(f, t.Protocol) {
		if anyPort {
			all = append(all, slices.Concat(base, h.protocolKeys(t.Protocol)).sorted())
			continue
		}
		for _, remotePort := range remotes {
			for _, localPort := range locals {
				source, destination := localPort, remotePort
				if direction == fault.Ingress {
					source, destination = remotePort, localPort
				}
				all = append(all, slices.Concat(base, h.portKeys(t.Protocol, source, destination)).sorted())
			}
		}
	}
	return all
}

// exemptKeys returns the keys of the filters for what no fault touches: neighbour
// discovery, the agent's own port on both sides, and kubelet's probes.
func exemptKeys(exempt fault.Exemption, direction fault.Direction, f family) []keys {
	h := headerOf(f)
	var all []keys
	if f == ipv6 {
		// Router and neighbour solicitation and advertisement, redirect (RFC 4861).
		for icmpType := uint32(133); icmpType <= 137; icmpType++ {
			all = append(all, append(h.protocolKeys(unix.IPPROTO_ICMPV6), key{offset: h.transport, mask: 0xff000000, value: icmpType << 24}))
		}
	}
	exactly := func(port uint16) portPattern { return portPattern{value: port, mask: 0xffff} }
	control := exactly(exempt.ControlPort)
	for _, tcp := range headersOf(f, unix.IPPROTO_TCP) {
		all = append(all,
			tcp.portKeys(unix.IPPROTO_TCP, control, portPattern{}).sorted(),
			tcp.portKeys(unix.IPPROTO_TCP, portPattern{}, control).sorted())
	}
	for _, node := range exempt.NodeAddrs {
		if node.Is6() != (f == ipv6) {
			continue
		}
		for _, port := range exempt.ProbePorts {
			remote, source, destination := h.destination, exactly(port), portPattern{}
			if direction == fault.Ingress {
				remote, source, destination = h.source, destination, source
			}
			address := addressKeys(remote, netip.PrefixFrom(node, node.BitLen()))
			for _, tcp := range headersOf(f, unix.IPPROTO_TCP) {
				all = append(all, slices.Concat(address, tcp.portKeys(unix.IPPROTO_TCP, source, destination)).sorted())
			}
		}
	}
	return all
}
