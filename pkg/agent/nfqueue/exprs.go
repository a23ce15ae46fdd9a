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

// The words that rules are made of. Register 1 is scratch space.

func meta(key expr.MetaKey, op expr.CmpOp, value []byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: value},
	}
}

// deviceKey is the interface that packets of a direction cross.
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
	return meta(deviceKey(direction), expr.CmpOpEq, deviceName(name))
}

// notDevices matches what crosses none of some interfaces.
func notDevices(direction fault.Direction, names []string) []expr.Any {
	words := []expr.Any{&expr.Meta{Key: deviceKey(direction), Register: 1}}
	for _, name := range names {
		words = append(words, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: deviceName(name)})
	}
	return words
}

func protocol(number byte) []expr.Any {
	return meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{number})
}

func transport(offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}
}

// neighbourDiscovery matches what IPv6 has in the place of ARP: router and
// neighbour solicitations and advertisements, and redirects (RFC 4861, 4.).
func neighbourDiscovery() []expr.Any {
	return append(protocol(unix.IPPROTO_ICMPV6),
		transport(0, 1),
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: []byte{133}},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: []byte{137}},
	)
}

// Where a TCP header has its ports.
const (
	sourcePort      = 0
	destinationPort = 2
)

func tcpPort(side uint32, port uint16) []expr.Any {
	return append(protocol(unix.IPPROTO_TCP),
		transport(side, 2),
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
	)
}

// tcpNotSYN matches TCP without the packets that open a connection.
func tcpNotSYN() []expr.Any {
	const flagsOffset, syn = 13, 0x02
	return append(protocol(unix.IPPROTO_TCP),
		transport(flagsOffset, 1),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{syn}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0}},
	)
}

// localPort and remotePort are where packets of a direction have the pod's own
// port and the peer's.
func localPort(direction fault.Direction) uint32 {
	if direction == fault.Ingress {
		return destinationPort
	}
	return sourcePort
}

func remotePort(direction fault.Direction) uint32 {
	return destinationPort - localPort(direction)
}

// loadDestination puts the destination address in register 1. It is 4 bytes
// at offset 16 of an IPv4 header, 16 bytes at offset 24 of an IPv6 one.
func loadDestination(v6 bool) expr.Any {
	load := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
	if v6 {
		load.Offset, load.Len = 24, 16
	}
	return load
}

// loadPeer puts the remote address of packets of a direction in register 1.
func loadPeer(direction fault.Direction, v6 bool) expr.Any {
	load := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
	if v6 {
		load.Offset, load.Len = 24, 16
	}
	if direction == fault.Ingress { // the source is right before the destination
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

// ports matches a range of ports of the protocol that was matched before.
func ports(side uint32, r api.PortRange) []expr.Any {
	first := binary.BigEndian.AppendUint16(nil, r.First)
	if r.First == r.Last {
		return []expr.Any{transport(side, 2), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: first}}
	}
	return []expr.Any{
		transport(side, 2),
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: first},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: binary.BigEndian.AppendUint16(nil, r.Last)},
	}
}

// term matches what a term of a fault does.
func term(direction fault.Direction, t fault.Term) []expr.Any {
	var words []expr.Any
	if t.Peer.IsValid() {
		words = append(words, peerPrefix(direction, t.Peer)...)
	}
	if t.Protocol != 0 {
		words = append(words, protocol(t.Protocol)...)
	}
	if t.Remote != (api.PortRange{}) {
		words = append(words, ports(remotePort(direction), t.Remote)...)
	}
	if t.Local != (api.PortRange{}) {
		words = append(words, ports(localPort(direction), t.Local)...)
	}
	return words
}

func mark(value uint32) []expr.Any {
	return meta(expr.MetaKeyMARK, expr.CmpOpEq, binary.NativeEndian.AppendUint32(nil, value))
}

func setMark(value uint32) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binary.NativeEndian.AppendUint32(nil, value)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}
}

// duplicate sends a copy where the packet goes, by the same device.
func duplicate(v6 bool) []expr.Any {
	return []expr.Any{
		loadDestination(v6),
		&expr.Meta{Key: expr.MetaKeyOIF, Register: 2},
		&expr.Dup{RegAddr: 1, RegDev: 2, IsRegDevSet: true},
	}
}

func counter() []expr.Any {
	return []expr.Any{&expr.Counter{}}
}

// pass ends the chain; the packet goes on.
func pass() []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}
}

// jump leaves the chain for another, for good.
func jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}
}

// enqueue hands a packet to a queue. With bypass it passes if nobody reads the
// queue, else it is dropped then.
type enqueue func(queue uint16, bypass bool) []expr.Any

// nativeQueue is nftables' own queue statement.
func nativeQueue(queue uint16, bypass bool) []expr.Any {
	statement := &expr.Queue{Num: queue, Total: 1}
	if bypass {
		statement.Flag = expr.QueueFlagBypass
	}
	return []expr.Any{statement}
}

// compatQueue is iptables' NFQUEUE target, for kernels that lack the
// statement (CONFIG_NFT_QUEUE). Its argument is struct xt_NFQ_info_v3: number
// of the first queue, of queues, flags, padded to 8 bytes.
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

// join makes one rule of several words.
func join(words ...[]expr.Any) []expr.Any {
	return slices.Concat(words...)
}
