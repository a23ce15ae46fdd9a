//go:build linux

package nfqueue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// flagQueue has the copies whose DF no rule could take: Linux 7.2 lets rules write
// to other fields of IPv4 only (nft_payload_set_eval in net/netfilter/nft_payload.c).
const flagQueue = 2335

const (
	// flagRoom is the room for one message, with a whole packet.
	flagRoom = 1<<16 + 4<<10
	// flagMemory is for messages that were not read yet, in bytes.
	flagMemory = 2 << 20
	// flagBatch bounds how many packets one call of process takes.
	flagBatch = 128
	// mostBatches bounds how many such calls empty the queue.
	mostBatches = 2 * maxUnread / flagBatch
)

// flagClearer takes DF from the packets of flagQueue. Each then meets the rules
// again, with the mark of a copy that has the right flags. Its methods are safe for
// concurrent use.
type flagClearer struct {
	buffer []byte

	mu     sync.Mutex
	socket *socket
	bound  bool
	closed bool
}

func openFlagClearer() (*flagClearer, error) {
	s, err := openSocket(flagMemory)
	if err != nil {
		return nil, err
	}
	return &flagClearer{socket: s, buffer: make([]byte, flagRoom)}, nil
}

// bind begins to read the queue, if that was not done yet.
func (c *flagClearer) bind() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bound {
		return nil
	}
	// The answer to a request is read by request, which has no use for packets. So
	// none is queued before that, although an earlier agent's rules may lead here.
	if err := c.socket.request(bind(flagQueue, queueConfig{maxLen: 0, whole: true, segmented: true})); err != nil {
		return fmt.Errorf("bind queue %d: %w", flagQueue, err)
	}
	c.bound = true
	return c.socket.send(setMaxLen(flagQueue, maxUnread))
}

// process takes the packets that are there, up to flagBatch, and reports whether
// there can be more. Call it again when there is input.
func (c *flagClearer) process() (more bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false, nil
	}
	for range flagBatch {
		n, _, _, _, err := unix.Recvmsg(c.socket.fd, c.buffer, nil, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOBUFS):
			continue
		case err != nil:
			return false, os.NewSyscallError("read netlink", err)
		}
		if m := clearFlag(c.buffer[:n]); m != nil {
			if err := c.socket.send(m); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// empty takes all packets.
func (c *flagClearer) empty() error {
	for range mostBatches {
		if more, err := c.process(); err != nil || !more {
			return err
		}
	}
	return nil
}

// passAll takes all packets, and has those that come later pass (fail-open).
func (c *flagClearer) passAll() error {
	c.mu.Lock()
	ready := c.bound && !c.closed
	c.mu.Unlock()
	if !ready {
		return nil
	}
	return errors.Join(c.socket.send(setMaxLen(flagQueue, 0)), c.empty())
}

// close gives the queue back. The kernel drops what is in it.
func (c *flagClearer) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	return c.socket.close()
}

// clearFlag returns the verdict on a packet, given the kernel's message about it:
// to meet the rules again without DF. It returns nil for other messages.
func clearFlag(b []byte) message {
	r, err := parseReply(b)
	if err != nil || !r.isPacket {
		return nil
	}
	m := newVerdict(flagQueue, verdictRepeat, r.packet.id).with(attrMark, unfragmentedMark())
	if content := findAttr(b[headerLen:], attrPayload); withoutFlag(content) {
		m = m.withBytes(attrPayload, content)
	}
	return m
}

// withoutFlag takes DF from an IPv4 packet, in place. It returns false if that is
// none.
func withoutFlag(packet []byte) bool {
	if len(packet) < v4Header || packet[0]>>4 != 4 {
		return false
	}
	header := packet[:min(int(packet[0]&0xf)*4, len(packet))]
	if len(header) < v4Header {
		return false
	}
	header[flagsOffset] &^= dontFragment()[flagsOffset-identificationOffset]
	binary.BigEndian.PutUint16(header[checksumOffset:], 0)
	binary.BigEndian.PutUint16(header[checksumOffset:], internetChecksum(header))
	return true
}

// internetChecksum is that of RFC 1071, of an even number of bytes.
func internetChecksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
