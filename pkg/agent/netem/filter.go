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

// key compares one big-endian word of the packet, counted from the start of
// the network header. Equivalent to `match u32 value mask at offset`.
type key struct {
	offset      int32
	mask, value uint32
}

// keys are ANDed; none match every packet of the family.
type keys []key

func (k keys) equal(l keys) bool { return slices.Equal(k, l) }

// words writes the keys as tc's words after "u32".
func (k keys) words() string {
	if len(k) == 0 {
		return "match u32 0 0"
	}
	w := make([]string, 0, len(k))
	for _, one := range k {
		w = append(w, fmt.Sprintf("match u32 0x%08x 0x%08x at %d", one.value, one.mask, one.offset))
	}
	return strings.Join(w, " ")
}

// layout is where a family's header has what filters compare.
type layout struct {
	family                    family
	source, destination, rest int32 // addresses, and what follows the header
	protocol                  int32 // the word with the protocol
	protocolShift             int
}

func layoutOf(f family) layout {
	if f == ipv6 {
		return layout{family: ipv6, source: 8, destination: 24, rest: 40, protocol: 4, protocolShift: 8}
	}
	return layout{family: ipv4, source: 12, destination: 16, rest: 20, protocol: 8, protocolShift: 16}
}

// address compares an address with a prefix; nothing when that is as long as
// none.
func (l layout) address(offset int32, prefix netip.Prefix) keys {
	var all keys
	addr := prefix.Addr().AsSlice()
	for bits := prefix.Bits(); bits > 0; bits -= 32 {
		mask := ^uint32(0) << (32 - min(bits, 32))
		all = append(all, key{offset: offset, mask: mask, value: binary.BigEndian.Uint32(addr) & mask})
		addr, offset = addr[4:], offset+4
	}
	return all
}

// proto compares the protocol.
func (l layout) proto(number uint8) key {
	return key{offset: l.protocol, mask: 0xff << l.protocolShift, value: uint32(number) << l.protocolShift}
}

// ports compares the ports of a protocol that has them, where they are: after
// a header of IPv4 without options, in the first or only fragment.
func (l layout) ports(protocol uint8, source, destination pattern) keys {
	all := keys{l.proto(protocol), {
		offset: l.rest,
		mask:   uint32(source.mask)<<16 | uint32(destination.mask),
		value:  uint32(source.value)<<16 | uint32(destination.value),
	}}
	if l.family == ipv4 {
		all = append(all, key{offset: 0, mask: 0x0f000000, value: 0x05000000}, key{offset: 4, mask: 0x00001fff})
	}
	return all
}

// sorted puts keys in the order of the header.
func (k keys) sorted() keys {
	return slices.SortedFunc(slices.Values(k), func(a, b key) int { return cmp.Compare(a.offset, b.offset) })
}

// familyOf is the family of a term.
func familyOf(v6 bool) family {
	if v6 {
		return ipv6
	}
	return ipv4
}

// termKeys returns the filters that together match one term of a fault.
func termKeys(t fault.Term, direction fault.Direction) []keys {
	l := layoutOf(familyOf(t.V6))
	remote, remotes, locals := l.destination, cover(t.Remote), cover(t.Local)
	if direction == fault.Ingress {
		remote = l.source
	}
	base := keys{}
	if t.Peer.IsValid() {
		base = l.address(remote, t.Peer)
	}
	if anyPort := (pattern{}); remotes[0] == anyPort && locals[0] == anyPort {
		if t.Protocol != 0 {
			base = append(base, l.proto(t.Protocol))
		}
		return []keys{base.sorted()}
	}
	var all []keys
	for _, r := range remotes {
		for _, o := range locals {
			source, destination := o, r
			if direction == fault.Ingress {
				source, destination = r, o
			}
			all = append(all, slices.Concat(base, l.ports(t.Protocol, source, destination)).sorted())
		}
	}
	return all
}

// exemptKeys returns the filters for what no fault touches: neighbour
// discovery, the agent's own port on both sides, and kubelet's probes.
func exemptKeys(exempt fault.Exemption, direction fault.Direction, f family) []keys {
	l := layoutOf(f)
	var all []keys
	if f == ipv6 {
		// Router and neighbour solicitation and advertisement, redirect (RFC 4861).
		for icmpType := uint32(133); icmpType <= 137; icmpType++ {
			all = append(all, keys{l.proto(unix.IPPROTO_ICMPV6), {offset: l.rest, mask: 0xff000000, value: icmpType << 24}})
		}
	}
	exactly := func(port uint16) pattern { return pattern{value: port, mask: 0xffff} }
	control := exactly(exempt.ControlPort)
	all = append(all,
		l.ports(unix.IPPROTO_TCP, control, pattern{}).sorted(),
		l.ports(unix.IPPROTO_TCP, pattern{}, control).sorted())
	for _, node := range exempt.NodeAddrs {
		if node.Is6() != (f == ipv6) {
			continue
		}
		for _, port := range exempt.ProbePorts {
			remote, source, destination := l.destination, exactly(port), pattern{}
			if direction == fault.Ingress {
				remote, source, destination = l.source, destination, source
			}
			address := l.address(remote, netip.PrefixFrom(node, node.BitLen()))
			all = append(all, slices.Concat(address, l.ports(unix.IPPROTO_TCP, source, destination)).sorted())
		}
	}
	return all
}
