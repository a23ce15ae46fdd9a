//go:build linux

package nfqueue

import (
	"encoding/binary"
	"errors"
	"math"

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

// Attributes. Their values are big endian; the headers are in native order.
const (
	attrPacketHeader  = 1  // NFQA_PACKET_HDR: u32 id, u16 ethertype, u8 hook
	attrVerdictHeader = 2  // NFQA_VERDICT_HDR: u32 verdict, u32 id
	attrMark          = 3  // NFQA_MARK: u32
	attrInDevice      = 5  // NFQA_IFINDEX_INDEV: u32
	attrOutDevice     = 6  // NFQA_IFINDEX_OUTDEV: u32
	attrPayload       = 10 // NFQA_PAYLOAD: what was copied of the packet, or what replaces it
	attrLength        = 13 // NFQA_CAP_LEN: u32, the packet's length, if less was copied

	attrConfigCommand = 1 // NFQA_CFG_CMD: u8 command, u8 unused, u16 family
	attrConfigParams  = 2 // NFQA_CFG_PARAMS: u32 bytes to copy, u8 mode
	attrConfigMaxLen  = 3 // NFQA_CFG_QUEUE_MAXLEN: u32
	attrConfigMask    = 4 // NFQA_CFG_MASK: u32, the flags to change
	attrConfigFlags   = 5 // NFQA_CFG_FLAGS: u32
)

// Values. One that is a byte in the kernel is the first byte of a big-endian word
// here.
const (
	commandBind   = 1 << 24 // NFQNL_CFG_CMD_BIND
	commandUnbind = 2 << 24 // NFQNL_CFG_CMD_UNBIND
	copyMeta      = 1 << 24 // NFQNL_COPY_META
	copyPacket    = 2 << 24 // NFQNL_COPY_PACKET
	flagFailOpen  = 1       // NFQA_CFG_F_FAIL_OPEN
	flagGSO       = 4       // NFQA_CFG_F_GSO
	verdictDrop   = 0       // NF_DROP
	verdictAccept = 1       // NF_ACCEPT
	verdictRepeat = 4       // NF_REPEAT
)

const (
	headerLen       = unix.SizeofNlMsghdr + 4 // struct nlmsghdr, struct nfgenmsg
	packetHeaderLen = 7                       // struct nfqnl_msg_packet_hdr, packed
)

// message is a request to the kernel, or several, one after the other.
type message []byte

// newConfig starts a request to configure a queue. The kernel answers it.
func newConfig(queue uint16) message {
	m := make(message, headerLen)
	binary.NativeEndian.PutUint32(m, headerLen)
	binary.NativeEndian.PutUint16(m[4:], typeConfig)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	binary.BigEndian.PutUint16(m[18:], queue) // nfgenmsg.res_id
	return m
}

// with appends an attribute made of words. The kernel reads as many bytes as the
// attribute has and ignores the rest of the last word.
func (m message) with(kind uint16, words ...uint32) message {
	m = binary.NativeEndian.AppendUint16(m, uint16(unix.SizeofNlAttr+4*len(words)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	for _, word := range words {
		m = binary.BigEndian.AppendUint32(m, word)
	}
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	return m
}

// withBytes appends an attribute.
func (m message) withBytes(kind uint16, value []byte) message {
	m = appendAttr(m, kind, value)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	return m
}

// newVerdict is a verdict on one packet. More attributes can be added to it.
func newVerdict(queue uint16, verdict, id uint32) message {
	m := make(message, verdictLen)
	m.fillVerdict(typeVerdict, queue, verdict, id)
	return m
}

// queueConfig is how the kernel keeps a queue.
type queueConfig struct {
	// maxLen is how many packets fit. Those beyond pass (fail-open).
	maxLen uint32
	// sizes asks for the length of each packet. The kernel then copies one byte of
	// it, because only a copied packet comes with its length.
	sizes bool
	// whole asks for each packet as a whole.
	whole bool
	// segmented asks the kernel to cut large segments into packets of the path's
	// size before it queues them. Else they are queued whole (GSO).
	segmented bool
}

// bind requests to read a queue. The kernel then sends a message with the id of
// each packet, but not its content. Binding and copy mode are in one request,
// because the kernel drops the packets of a bound queue that has no copy mode.
func bind(queue uint16, c queueConfig) message {
	return newConfig(queue).with(attrConfigCommand, commandBind).withConfig(c)
}

// reconfigure changes the configuration of a bound queue.
func reconfigure(queue uint16, c queueConfig) message {
	return newConfig(queue).withConfig(c)
}

func (m message) withConfig(c queueConfig) message {
	params := []uint32{0, copyMeta}
	switch {
	case c.whole:
		params = []uint32{math.MaxUint16, copyPacket}
	case c.sizes:
		params = []uint32{1, copyPacket}
	}
	flags := uint32(flagFailOpen | flagGSO)
	if c.segmented {
		flags &^= flagGSO
	}
	return m.with(attrConfigParams, params...).
		with(attrConfigMaxLen, c.maxLen).
		with(attrConfigMask, flagFailOpen|flagGSO).
		with(attrConfigFlags, flags)
}

// bindSink requests to bind a queue without a copy mode. The kernel drops the
// packets of such a queue, and their sender is told that all went well
// (nfqnl_enqueue_packet in net/netfilter/nfnetlink_queue.c, nf_queue in
// net/netfilter/nf_queue.c).
func bindSink(queue uint16) message {
	return newConfig(queue).with(attrConfigCommand, commandBind)
}

// unbind requests to give a queue back. The kernel drops the packets in it.
func unbind(queue uint16) message {
	return newConfig(queue).with(attrConfigCommand, commandUnbind)
}

// setMaxLen requests to change how many packets a queue holds at most.
func setMaxLen(queue uint16, maxLen uint32) message {
	return newConfig(queue).with(attrConfigMaxLen, maxLen)
}

// fillVerdict makes the message, whose length is verdictLen, a verdict. kind is
// typeVerdict for the packet with the id, or typeVerdictBatch for all packets up
// to it.
func (m message) fillVerdict(kind, queue uint16, verdict, id uint32) {
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

// packet is what the kernel says about a packet that it queued.
type packet struct {
	queue uint16
	id    uint32
	// size is in bytes, from the IP header on; 0 in a queue without sizes.
	size uint32
	// device is the index of the interface by which it leaves, or arrives if it
	// does not leave.
	device uint32
}

// reply is one message from the kernel: a packet that it queued, or the answer
// to a request.
type reply struct {
	isPacket bool
	packet   packet
	answer   error // nil for success
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
		p.queue = binary.BigEndian.Uint16(b[18:]) // nfgenmsg.res_id
		return reply{isPacket: true, packet: p}, err
	case unix.NLMSG_ERROR:
		if errno := -int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:])); errno != 0 {
			return reply{answer: unix.Errno(errno)}, nil
		}
		return reply{}, nil
	default:
		return reply{}, errMalformed
	}
}

// parsePacket finds the packet header and the length among the attributes. The
// kernel sends the header first and the length, if at all, late.
func parsePacket(attrs []byte) (p packet, err error) {
	hasHeader := false
	for len(attrs) >= unix.SizeofNlAttr {
		size, kind := int(binary.NativeEndian.Uint16(attrs)), binary.NativeEndian.Uint16(attrs[2:])
		if size < unix.SizeofNlAttr || size > len(attrs) {
			break
		}
		value := attrs[unix.SizeofNlAttr:size]
		switch {
		case kind == attrPacketHeader && len(value) >= packetHeaderLen:
			p.id, hasHeader = binary.BigEndian.Uint32(value), true
		case kind == attrOutDevice && len(value) >= 4, kind == attrInDevice && len(value) >= 4 && p.device == 0: // in before out
			p.device = binary.BigEndian.Uint32(value)
		case kind == attrLength && len(value) >= 4:
			p.size = binary.BigEndian.Uint32(value)
		}
		aligned := (size + unix.NLA_ALIGNTO - 1) &^ (unix.NLA_ALIGNTO - 1)
		attrs = attrs[min(aligned, len(attrs)):]
	}
	if !hasHeader {
		return packet{}, errMalformed
	}
	return p, nil
}
