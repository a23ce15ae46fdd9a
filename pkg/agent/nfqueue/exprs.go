//go:build linux

package nfqueue

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// The expressions that rules are made of. They use register 1 as scratch space.

// compareMeta compares what the kernel knows about a packet with a value.
func compareMeta(key expr.MetaKey, op expr.CmpOp, value []byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: value},
	}
}

// deviceKey selects the interface that packets of a direction cross.
func deviceKey(direction fault.Direction) expr.MetaKey {
	if direction == fault.Ingress {
		return expr.MetaKeyIIFNAME
	}
	return expr.MetaKeyOIFNAME
}

func deviceName(name string) []byte {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return padded
}

func onDevice(direction fault.Direction, name string) []expr.Any {
	return compareMeta(deviceKey(direction), expr.CmpOpEq, deviceName(name))
}

// notDevices matches packets that cross none of the named interfaces.
func notDevices(direction fault.Direction, names []string) []expr.Any {
	match := []expr.Any{&expr.Meta{Key: deviceKey(direction), Register: 1}}
	for _, name := range names {
		match = append(match, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: deviceName(name)})
	}
	return match
}

func protocol(number byte) []expr.Any {
	return compareMeta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{number})
}

// loadTransport puts bytes of the transport header in register 1.
func loadTransport(offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}
}

// neighbourDiscovery matches what IPv6 has instead of ARP: router and neighbour
// solicitations and advertisements, and redirects, which are the ICMPv6 types 133
// to 137 (RFC 4861, section 4).
func neighbourDiscovery() []expr.Any {
	return append(protocol(unix.IPPROTO_ICMPV6),
		loadTransport(0, 1),
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: []byte{133}},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: []byte{137}},
	)
}

// Offsets of the ports in a TCP or UDP header, in bytes.
const (
	sourcePort      = 0
	destinationPort = 2
)

// tcpPort matches TCP with a port; side is sourcePort or destinationPort.
func tcpPort(side uint32, port uint16) []expr.Any {
	return append(protocol(unix.IPPROTO_TCP),
		loadTransport(side, 2),
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
	)
}

// localPort returns where packets of a direction have the pod's own port.
func localPort(direction fault.Direction) uint32 {
	if direction == fault.Ingress {
		return destinationPort
	}
	return sourcePort
}

// remotePort returns where packets of a direction have the peer's port.
func remotePort(direction fault.Direction) uint32 {
	return destinationPort - localPort(direction)
}

// loadDestination puts the destination address in register 1. It is 4 bytes at
// offset 16 of an IPv4 header (RFC 791), and 16 bytes at offset 24 of an IPv6
// header (RFC 8200).
func loadDestination(v6 bool) *expr.Payload {
	load := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
	if v6 {
		load.Offset, load.Len = 24, 16
	}
	return load
}

// loadPeer puts the remote address of packets of a direction in register 1.
func loadPeer(direction fault.Direction, v6 bool) expr.Any {
	load := loadDestination(v6)
	if direction == fault.Ingress { // the source address is right before it
		load.Offset -= load.Len
	}
	return load
}

func peerAddress(direction fault.Direction, addr netip.Addr) []expr.Any {
	return []expr.Any{
		loadPeer(direction, addr.Is6()),
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: addr.AsSlice()},
	}
}

// peerPrefix matches a remote network.
func peerPrefix(direction fault.Direction, prefix netip.Prefix) []expr.Any {
	addr := prefix.Masked().Addr()
	if prefix.IsSingleIP() {
		return peerAddress(direction, addr)
	}
	length := uint32(addr.BitLen() / 8)
	return []expr.Any{
		loadPeer(direction, addr.Is6()),
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: length,
			Mask: net.CIDRMask(prefix.Bits(), addr.BitLen()), Xor: make([]byte, length),
		},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: addr.AsSlice()},
	}
}

// ports matches a range of ports. A protocol with ports must be matched before.
func ports(side uint32, r api.PortRange) []expr.Any {
	first := binary.BigEndian.AppendUint16(nil, r.First)
	if r.First == r.Last {
		return []expr.Any{loadTransport(side, 2), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: first}}
	}
	return []expr.Any{
		loadTransport(side, 2),
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: first},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: binary.BigEndian.AppendUint16(nil, r.Last)},
	}
}

// matchTerm matches what a term of a fault's match does.
func matchTerm(direction fault.Direction, t fault.Term) []expr.Any {
	var match []expr.Any
	if t.Peer.IsValid() {
		match = append(match, peerPrefix(direction, t.Peer)...)
	}
	if t.Protocol != 0 {
		match = append(match, protocol(t.Protocol)...)
	}
	if t.Remote != (api.PortRange{}) {
		match = append(match, ports(remotePort(direction), t.Remote)...)
	}
	if t.Local != (api.PortRange{}) {
		match = append(match, ports(localPort(direction), t.Local)...)
	}
	return match
}

// hasOwnMark matches packets that somebody else has marked.
func hasOwnMark() []expr.Any { return compareMeta(expr.MetaKeyMARK, expr.CmpOpNeq, make([]byte, 4)) }

func hasMark(value uint32) []expr.Any {
	return compareMeta(expr.MetaKeyMARK, expr.CmpOpEq, binary.NativeEndian.AppendUint32(nil, value))
}

func setMark(value uint32) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binary.NativeEndian.AppendUint32(nil, value)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}
}

func counter() []expr.Any {
	return []expr.Any{&expr.Counter{}}
}

// goOn has a packet go on with the next rule.
func goOn() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictContinue}} }

// pass has the packet leave the table, whatever the policy of the base chain is.
func pass() []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
}

// gotoChain continues in another chain and does not come back.
func gotoChain(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}
}

// queueStatement hands a packet to a queue. If the queue has no reader, the packet
// passes with bypass and is dropped without.
type queueStatement func(queue uint16, bypass bool) []expr.Any

// nativeQueue is nftables' own queue statement.
func nativeQueue(queue uint16, bypass bool) []expr.Any {
	statement := &expr.Queue{Num: queue, Total: 1}
	if bypass {
		statement.Flag = expr.QueueFlagBypass
	}
	return []expr.Any{statement}
}

// compatQueue is iptables' NFQUEUE target, for kernels without nftables' own
// statement (CONFIG_NFT_QUEUE). Its argument is struct xt_NFQ_info_v3
// (include/uapi/linux/netfilter/xt_NFQUEUE.h): the number of the first queue, the
// number of queues, and flags, each of 16 bits, padded to 8 bytes.
func compatQueue(queue uint16, bypass bool) []expr.Any {
	const bypassFlag = 1 // NFQ_FLAG_BYPASS
	info := make(xt.Unknown, 8)
	binary.NativeEndian.PutUint16(info, queue)
	binary.NativeEndian.PutUint16(info[2:], 1)
	if bypass {
		binary.NativeEndian.PutUint16(info[4:], bypassFlag)
	}
	return []expr.Any{&expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}}
}

// join makes one rule of several parts.
func join(parts ...[]expr.Any) []expr.Any { return slices.Concat(parts...) }
