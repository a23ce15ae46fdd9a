//go:build linux

package nfqueue

import (
	"encoding/binary"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The mark of a copy on its way to the queue is "tidl" in ASCII. In IPv4 the bit
// that DF (don't fragment) has among the bytes of a header is inverted in it, if
// the original had DF: the kernel sets DF in every copy.
const copyMark = 0x7469646c

// Where an IPv4 header has the identification, which begins a word that ends with
// the fragment offset, the flags in there, and the checksum (RFC 791, section 3.1).
const identificationOffset, flagsOffset, checksumOffset = 4, 6, 10

// dontFragment has the bit DF among those four bytes.
func dontFragment() []byte { return []byte{0, 0, 0x40, 0} }

// The lengths of IP headers without options, in bytes.
const v4Header, v6Header = 20, 40

// unfragmentedMark is the mark of a copy whose original had DF.
func unfragmentedMark() uint32 { return copyMark ^ binary.NativeEndian.Uint32(dontFragment()) }

// markCopy gives a packet the mark of its copy.
func markCopy(v6 bool) []expr.Any {
	if v6 {
		return setMark(copyMark)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: identificationOffset, Len: 4},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: dontFragment(), Xor: binary.NativeEndian.AppendUint32(nil, copyMark),
		},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}
}

// clearDontFragment takes DF from an IPv4 packet. The kernel corrects the checksum
// of the header.
func clearDontFragment() []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: flagsOffset, Len: 2},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 2, Mask: []byte{0xbf, 0xff}, Xor: []byte{0, 0}},
		&expr.Payload{
			OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseNetworkHeader,
			Offset: flagsOffset, Len: 2, CsumType: expr.CsumTypeInet, CsumOffset: checksumOffset,
		},
	}
}

// duplicate sends a copy of the packet to the original's next hop, by the same
// interface. The kernel looks for the route of a copy by the address in register
// 1 alone (nf_dup_ipv4_route in net/ipv4/netfilter/nf_dup_ipv4.c). Given the
// destination, that route could be another one, where routes depend on more.
func duplicate(v6 bool) []expr.Any {
	key := expr.RtNexthop4
	if v6 {
		key = expr.RtNexthop6
	}
	return join([]expr.Any{&expr.Rt{Register: 1, Key: key}}, duplicateToRegister())
}

// duplicateByDestination sends a copy by the route that its destination alone
// has. Such a copy is cut up for the MTU of its path, which the kernel knows by
// destination only.
func duplicateByDestination(v6 bool) []expr.Any {
	return join([]expr.Any{loadDestination(v6)}, duplicateToRegister())
}

func duplicateToRegister() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIF, Register: 2},
		&expr.Dup{RegAddr: 1, RegDev: 2, IsRegDevSet: true},
	}
}

// ofProcess matches packets whose socket belongs to a process of the pod. The
// kernel's own sockets have no user, and neither has a socket that was closed
// (nft_meta_get_eval_skugid in net/netfilter/nft_meta.c).
func ofProcess() []expr.Any { return compareMeta(expr.MetaKeySKUID, expr.CmpOpGte, make([]byte, 4)) }

// tcpFlags matches TCP packets that have these values of the flags in mask
// (RFC 9293, section 3.1).
func tcpFlags(op expr.CmpOp, mask, value byte) []expr.Any {
	const offset = 13
	return append(protocol(unix.IPPROTO_TCP),
		loadTransport(offset, 1),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{mask}, Xor: []byte{0}},
		&expr.Cmp{Op: op, Register: 1, Data: []byte{value}},
	)
}

const tcpFIN, tcpSYN, tcpRST, tcpPSH, tcpACK = 0x01, 0x02, 0x04, 0x08, 0x10

// tcpNotFirst matches TCP packets other than the first of a connection.
func tcpNotFirst() []expr.Any { return tcpFlags(expr.CmpOpNeq, tcpSYN|tcpACK, tcpSYN) }

// tcpBareACK matches what the kernel sends for a connection that was closed: an
// ACK without data, with at most a time stamp.
func tcpBareACK(v6 bool) []expr.Any {
	const header, timestamp = 20, 12
	length := uint16(v4Header + header + timestamp)
	if v6 {
		length = v6Header + header + timestamp
	}
	return join(
		tcpFlags(expr.CmpOpEq, tcpFIN|tcpSYN|tcpRST|tcpPSH|tcpACK, tcpACK),
		packetLength(v6, expr.CmpOpLte, length),
	)
}

// packetLength compares the length of a packet, from the IP header on, with what
// its header says: IPv4's total length (RFC 791, section 3.1), or IPv6's payload
// length, which is less by the header (RFC 8200, section 3).
func packetLength(v6 bool, op expr.CmpOp, length uint16) []expr.Any {
	offset := uint32(2)
	if v6 {
		offset, length = 4, length-v6Header
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 2},
		&expr.Cmp{Op: op, Register: 1, Data: binary.BigEndian.AppendUint16(nil, length)},
	}
}

// icmpOfKernel matches the ICMP packets that the kernel sends: replies and errors.
// It does so from sockets that all pods of the node share (icmp_sk_init in
// net/ipv4/icmp.c). Requests are those of a process. Multicast listener reports
// are from a socket of the pod's own (igmp6_net_init in net/ipv6/mcast.c), and
// IGMP's belong to no socket.
func icmpOfKernel(v6 bool) []expr.Any {
	number, others := byte(unix.IPPROTO_ICMP), []byte{8, 13, 15, 17, 42} // requests
	if v6 {
		number = unix.IPPROTO_ICMPV6
		others = []byte{128, 130, 131, 132, 143, 160} // echo request, MLD, MLDv2, extended echo request
	}
	match := append(protocol(number), loadTransport(0, 1))
	for _, kind := range others {
		match = append(match, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{kind}})
	}
	return match
}
