//go:build linux

package nfqueue

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// Messages of the kernel's queue subsystem,
// include/uapi/linux/netfilter/nfnetlink_queue.h.
const (
	typePacket       = unix.NFNL_SUBSYS_QUEUE << 8 // NFQNL_MSG_PACKET
	typeVerdict      = typePacket + 1              // NFQNL_MSG_VERDICT
	typeConfig       = typePacket + 2              // NFQNL_MSG_CONFIG
	typeVerdictBatch = typePacket + 3              // NFQNL_MSG_VERDICT_BATCH
)

// Attributes. What they carry is big endian, unlike the headers around it.
const (
	attrPacketHeader  = 1  // NFQA_PACKET_HDR: u32 id, u16 ethertype, u8 hook
	attrVerdictHeader = 2  // NFQA_VERDICT_HDR: u32 verdict, u32 id
	attrLength        = 13 // NFQA_CAP_LEN: u32, where less than that was copied

	attrConfigCommand = 1 // NFQA_CFG_CMD: u8 command, u8 unused, u16 family
	attrConfigParams  = 2 // NFQA_CFG_PARAMS: u32 bytes to copy, u8 mode
	attrConfigMaxLen  = 3 // NFQA_CFG_QUEUE_MAXLEN: u32
	attrConfigMask    = 4 // NFQA_CFG_MASK: u32, the flags to change
	attrConfigFlags   = 5 // NFQA_CFG_FLAGS: u32
)

// Values, those of one byte at the start of a word.
const (
	commandBind   = 1 << 24 // NFQNL_CFG_CMD_BIND
	commandUnbind = 2 << 24 // NFQNL_CFG_CMD_UNBIND
	copyMeta      = 1 << 24 // NFQNL_COPY_META
	copyPacket    = 2 << 24 // NFQNL_COPY_PACKET
	flagFailOpen  = 1       // NFQA_CFG_F_FAIL_OPEN
	flagGSO       = 4       // NFQA_CFG_F_GSO
	verdictDrop   = 0       // NF_DROP
	verdictAccept = 1       // NF_ACCEPT
)

const (
	headerLen       = unix.SizeofNlMsghdr + 4 // struct nlmsghdr, struct nfgenmsg
	packetHeaderLen = 7                       // struct nfqnl_msg_packet_hdr, packed
)

// message is one request to the kernel.
type message []byte

// newConfig starts a request to configure a queue, which the kernel answers.
func newConfig(queue uint16) message {
	m := make(message, headerLen)
	binary.NativeEndian.PutUint32(m, headerLen)
	binary.NativeEndian.PutUint16(m[4:], typeConfig)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	binary.BigEndian.PutUint16(m[18:], queue) // nfgenmsg.res_id
	return m
}

// with appends an attribute. Whole words are all it takes: the kernel looks at
// as many bytes as it knows and leaves the rest of the last word.
func (m message) with(kind uint16, words ...uint32) message {
	m = binary.NativeEndian.AppendUint16(m, uint16(unix.SizeofNlAttr+4*len(words)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	for _, word := range words {
		m = binary.BigEndian.AppendUint32(m, word)
	}
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	return m
}

// bind asks for what goes through a queue: ids without content, large segments
// whole, and letting pass what would be beyond maxLen packets. With sizes, one
// byte of each packet comes with its length, because lengths only come with
// content. A queue that is bound but has no copy mode yet frees what it is
// given, so one message says it all.
func bind(queue uint16, maxLen uint32, sizes bool) message {
	m := newConfig(queue).with(attrConfigCommand, commandBind)
	return m.with(attrConfigParams, copyParams(sizes)...).
		with(attrConfigMaxLen, maxLen).
		with(attrConfigMask, flagFailOpen|flagGSO).
		with(attrConfigFlags, flagFailOpen|flagGSO)
}

// reconfigure changes what bind said about a queue.
func reconfigure(queue uint16, maxLen uint32, sizes bool) message {
	return newConfig(queue).
		with(attrConfigParams, copyParams(sizes)...).
		with(attrConfigMaxLen, maxLen)
}

func copyParams(sizes bool) []uint32 {
	if sizes {
		return []uint32{1, copyPacket}
	}
	return []uint32{0, copyMeta}
}

// bindSink asks for a queue that frees what it is given, as one without a copy
// mode does.
func bindSink(queue uint16) message {
	return newConfig(queue).with(attrConfigCommand, commandBind)
}

// unbind gives a queue back. What it holds is dropped.
func unbind(queue uint16) message {
	return newConfig(queue).with(attrConfigCommand, commandUnbind)
}

// setMaxLen changes how many packets a queue holds at most.
func setMaxLen(queue uint16, maxLen uint32) message {
	return newConfig(queue).with(attrConfigMaxLen, maxLen)
}

// fill writes a verdict about one packet, or about all up to it, where the
// message has room for just that.
func (m message) fill(kind, queue uint16, verdict, id uint32) {
	clear(m)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], kind)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST)
	binary.BigEndian.PutUint16(m[18:], queue) // nfgenmsg.res_id
	binary.NativeEndian.PutUint16(m[headerLen:], verdictLen-headerLen)
	binary.NativeEndian.PutUint16(m[headerLen+2:], attrVerdictHeader)
	binary.BigEndian.PutUint32(m[headerLen+4:], verdict)
	binary.BigEndian.PutUint32(m[headerLen+8:], id)
}

// packet is what the kernel tells of a packet that it queued.
type packet struct {
	queue uint16
	id    uint32
	// size is in bytes from the IP header on; 0 in a queue without sizes.
	size uint32
}

// reply is one message from the kernel: a packet it queued, or the outcome of
// a request, nil for success.
type reply struct {
	isPacket bool
	packet   packet
	outcome  error
}

var errMalformed = errors.New("malformed message from the kernel")

// parseReply reads a message from the kernel. Its only error is errMalformed.
func parseReply(b []byte) (reply, error) {
	if len(b) < headerLen {
		return reply{}, errMalformed
	}
	switch binary.NativeEndian.Uint16(b[4:]) {
	case typePacket:
		p, err := parsePacket(b[headerLen:])
		p.queue = binary.BigEndian.Uint16(b[18:])
		return reply{isPacket: true, packet: p}, err
	case unix.NLMSG_ERROR:
		if errno := -int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:])); errno != 0 {
			return reply{outcome: unix.Errno(errno)}, nil
		}
		return reply{}, nil
	default:
		return reply{}, errMalformed
	}
}

// parsePacket finds the packet header and the length among attributes. The
// header is the first of them; the length comes late if at all.
func parsePacket(attrs []byte) (p packet, err error) {
	found := false
	for len(attrs) >= unix.SizeofNlAttr {
		size, kind := int(binary.NativeEndian.Uint16(attrs)), binary.NativeEndian.Uint16(attrs[2:])
		if size < unix.SizeofNlAttr || size > len(attrs) {
			break
		}
		value := attrs[unix.SizeofNlAttr:size]
		switch {
		case kind == attrPacketHeader && len(value) >= packetHeaderLen:
			p.id, found = binary.BigEndian.Uint32(value), true
		case kind == attrLength && len(value) >= 4:
			p.size = binary.BigEndian.Uint32(value)
		}
		aligned := (size + unix.NLA_ALIGNTO - 1) &^ (unix.NLA_ALIGNTO - 1)
		attrs = attrs[min(aligned, len(attrs)):]
	}
	if !found {
		return packet{}, errMalformed
	}
	return p, nil
}
