//go:build linux

package nfqueue

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// The words that rules are made of. Register 1 is scratch space.

func meta(key expr.MetaKey, op expr.CmpOp, value []byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: value},
	}
}

// notDevice matches what leaves by another interface.
func notDevice(name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return meta(expr.MetaKeyOIFNAME, expr.CmpOpNeq, padded)
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

// loadDestination puts the destination address in register 1. It is 4 bytes
// at offset 16 of an IPv4 header, 16 bytes at offset 24 of an IPv6 one.
func loadDestination(v6 bool) expr.Any {
	load := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
	if v6 {
		load.Offset, load.Len = 24, 16
	}
	return load
}

func destination(addr netip.Addr) []expr.Any {
	return []expr.Any{
		loadDestination(addr.Is6()),
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: addr.AsSlice()},
	}
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
