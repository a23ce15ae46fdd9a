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
	typeConfig       = typePacket + 2              // NFQNL_MSG_CONFIG
	typeVerdictBatch = typePacket + 3              // NFQNL_MSG_VERDICT_BATCH
)

// Attributes. What they carry is big endian, unlike the headers around it.
const (
	attrPacketHeader  = 1 // NFQA_PACKET_HDR: u32 id, u16 ethertype, u8 hook
	attrVerdictHeader = 2 // NFQA_VERDICT_HDR: u32 verdict, u32 id

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
	flagFailOpen  = 1       // NFQA_CFG_F_FAIL_OPEN
	flagGSO       = 4       // NFQA_CFG_F_GSO
	verdictAccept = 1       // NF_ACCEPT
)

const (
	headerLen       = unix.SizeofNlMsghdr + 4 // struct nlmsghdr, struct nfgenmsg
	packetHeaderLen = 7                       // struct nfqnl_msg_packet_hdr, packed
)

// message is one request to the kernel.
type message []byte

// newMessage starts a request about a queue.
func newMessage(kind, flags, queue uint16) message {
	m := make(message, headerLen)
	binary.NativeEndian.PutUint32(m, headerLen)
	binary.NativeEndian.PutUint16(m[4:], kind)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|flags)
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

// bindDelay asks for what goes through a queue: ids without content, large
// segments whole, and letting pass what would be beyond maxLen packets. A
// queue that is bound but has no copy mode yet frees what it is given, so one
// message says it all.
func bindDelay(queue uint16, maxLen uint32) message {
	return newMessage(typeConfig, unix.NLM_F_ACK, queue).
		with(attrConfigCommand, commandBind).
		with(attrConfigParams, 0, copyMeta).
		with(attrConfigMaxLen, maxLen).
		with(attrConfigMask, flagFailOpen|flagGSO).
		with(attrConfigFlags, flagFailOpen|flagGSO)
}

// bindSink asks for a queue that frees what it is given, as one without a copy
// mode does.
func bindSink(queue uint16) message {
	return newMessage(typeConfig, unix.NLM_F_ACK, queue).with(attrConfigCommand, commandBind)
}

// unbind gives a queue back. What it holds is dropped.
func unbind(queue uint16) message {
	return newMessage(typeConfig, unix.NLM_F_ACK, queue).with(attrConfigCommand, commandUnbind)
}

// setMaxLen changes how many packets a queue holds at most.
func setMaxLen(queue uint16, maxLen uint32) message {
	return newMessage(typeConfig, unix.NLM_F_ACK, queue).with(attrConfigMaxLen, maxLen)
}

// acceptUpTo releases the packets of a queue up to the one that setID names.
func acceptUpTo(queue uint16) message {
	return newMessage(typeVerdictBatch, 0, queue).with(attrVerdictHeader, verdictAccept, 0)
}

// setID completes what acceptUpTo returned.
func (m message) setID(id uint32) {
	binary.BigEndian.PutUint32(m[len(m)-4:], id)
}

// reply is one message from the kernel: a packet it queued, or the outcome of
// a request, nil for success.
type reply struct {
	isPacket bool
	id       uint32
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
		id, err := packetID(b[headerLen:])
		return reply{isPacket: true, id: id}, err
	case unix.NLMSG_ERROR:
		if errno := -int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:])); errno != 0 {
			return reply{outcome: unix.Errno(errno)}, nil
		}
		return reply{}, nil
	default:
		return reply{}, errMalformed
	}
}

// packetID finds the packet header among attributes.
func packetID(attrs []byte) (uint32, error) {
	for len(attrs) >= unix.SizeofNlAttr {
		size, kind := int(binary.NativeEndian.Uint16(attrs)), binary.NativeEndian.Uint16(attrs[2:])
		if size < unix.SizeofNlAttr || size > len(attrs) {
			break
		}
		if kind == attrPacketHeader && size >= unix.SizeofNlAttr+packetHeaderLen {
			return binary.BigEndian.Uint32(attrs[unix.SizeofNlAttr:]), nil
		}
		aligned := (size + unix.NLA_ALIGNTO - 1) &^ (unix.NLA_ALIGNTO - 1)
		attrs = attrs[min(aligned, len(attrs)):]
	}
	return 0, errMalformed
}
