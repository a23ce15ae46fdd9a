//go:build linux

package nfqueue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The library of nftables has one exchange with the kernel for each chain, and
// one answer for each rule. What a change needs is one exchange for all chains,
// one for all rules of a table, and one for a transaction.

// nftConn is a netlink socket for nf_tables. The kernel does all work of a request
// while it is sent, so that nothing is ever waited for. It is not safe for
// concurrent use.
type nftConn struct {
	fd      int
	buffer  []byte // for what is read
	request []byte // the last transaction, for its memory
}

// answerRoom is the room for one read in bytes. The kernel makes the parts of a
// dump fit (netlink_dump in net/netlink/af_netlink.c).
const answerRoom = 32 << 10

// dialNFT opens a connection. Close it.
func dialNFT() (*nftConn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("connect to nftables: %w", err)
	}
	return &nftConn{fd: fd, buffer: make([]byte, answerRoom)}, nil
}

func (c *nftConn) close() error { return os.NewSyscallError("close", unix.Close(c.fd)) }

// nftMessage is a message of nf_tables.
type nftMessage struct {
	kind   uint16 // NFT_MSG_*
	flags  uint16 // NLM_F_*, beside NLM_F_REQUEST
	family family
	attrs  []byte
}

// appendTo appends the message for a subsystem of netfilter.
func (m nftMessage) appendTo(b []byte, sequence uint32) []byte {
	return appendMessage(b, unix.NFNL_SUBSYS_NFTABLES<<8|m.kind, m.flags|unix.NLM_F_REQUEST, sequence, byte(m.family), 0, m.attrs)
}

// appendMessage appends a message of netfilter: struct nlmsghdr, struct nfgenmsg,
// attributes.
func appendMessage(b []byte, kind, flags uint16, sequence uint32, family byte, resource uint16, attrs []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(headerLen+len(attrs)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, sequence)
	b = append(b, 0, 0, 0, 0, family, unix.NFNETLINK_V0)
	b = binary.BigEndian.AppendUint16(b, resource)
	return append(b, attrs...)
}

// dumpAttempts bounds how often a dump is repeated during which rules changed.
const dumpAttempts = 10

var errInterrupted = errors.New("the rules changed during each of several dumps")

// dump returns everything of a kind and a family, or of all families. attrs can
// name a table; then the family must be named too.
func (c *nftConn) dump(kind uint16, f family, attrs []byte) ([]nftMessage, error) {
	request := nftMessage{kind, unix.NLM_F_DUMP, f, attrs}.appendTo(nil, 1)
	for range dumpAttempts {
		if err := c.send(request); err != nil {
			return nil, err
		}
		var all []nftMessage
		done, interrupted := false, false
		for !done {
			more, err := c.receive(func(a answer) {
				interrupted = interrupted || a.flags&unix.NLM_F_DUMP_INTR != 0
				done = done || a.kind == unix.NLMSG_DONE
				if a.kind>>8 == unix.NFNL_SUBSYS_NFTABLES {
					all = append(all, a.message())
				}
			})
			switch {
			case err != nil:
				return nil, err
			case !more && !done:
				return nil, errNoAnswer
			}
		}
		if !interrupted {
			return all, nil
		}
	}
	return nil, errInterrupted
}

// generation returns a number that every transaction raises
// (nf_tables_getgen in net/netfilter/nf_tables_api.c).
func (c *nftConn) generation() (uint32, error) {
	if err := c.send(nftMessage{kind: unix.NFT_MSG_GETGEN}.appendTo(nil, 1)); err != nil {
		return 0, err
	}
	var id []byte
	_, err := c.receive(func(a answer) {
		if a.kind == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN {
			id = findAttr(a.body[4:], unix.NFTA_GEN_ID)
		}
	})
	switch {
	case err != nil:
		return 0, err
	case len(id) != 4:
		return 0, errNoAnswer
	}
	return binary.BigEndian.Uint32(id), nil
}

// maxReturned is how many replaced rules the kernel is asked to return. More could
// find no room in the socket.
const maxReturned = 64

// commit sends a transaction, which the kernel carries out as a whole or not at
// all. It returns the rules that replaced others, if there are at most maxReturned,
// as the kernel has them. The error is that of the first request that it refused.
func (c *nftConn) commit(requests []nftMessage) (rules []nftMessage, err error) {
	if len(requests) == 0 {
		return nil, nil
	}
	c.request = appendTransaction(c.request[:0], requests)
	// The kernel takes only what fits in the buffer, and answers each message that
	// it refuses.
	if err := c.makeRoom(len(c.request)); err != nil {
		return nil, err
	}
	if err := c.send(c.request); err != nil {
		return nil, err
	}
	last := uint32(len(requests))
	answered := false // the last request, which is answered last
	for more := true; more && !answered; {
		var refused error
		more, refused = c.receive(func(a answer) {
			answered = answered || a.kind == unix.NLMSG_ERROR && a.sequence == last
			if a.kind == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWRULE {
				rules = append(rules, a.message())
			}
		})
		if err == nil {
			err = refused
		}
	}
	if err == nil && !answered {
		err = errNoAnswer
	}
	return rules, err
}

// appendTransaction appends the messages of a transaction, numbered from 1 on.
func appendTransaction(b []byte, requests []nftMessage) []byte {
	const subsystem = unix.NFNL_SUBSYS_NFTABLES
	b = appendMessage(b, unix.NFNL_MSG_BATCH_BEGIN, unix.NLM_F_REQUEST, 0, 0, subsystem, nil)
	last := uint32(len(requests))
	for i, m := range requests {
		number := uint32(i + 1)
		if m.flags&unix.NLM_F_REPLACE != 0 && last <= maxReturned {
			m.flags |= unix.NLM_F_ECHO
		}
		if number == last {
			m.flags |= unix.NLM_F_ACK
		}
		b = m.appendTo(b, number)
	}
	return appendMessage(b, unix.NFNL_MSG_BATCH_END, unix.NLM_F_REQUEST, last+1, 0, subsystem, nil)
}

// makeRoom makes the buffers of the socket large enough for a request of so many
// bytes and its answers.
func (c *nftConn) makeRoom(size int) error {
	const plenty = 128 << 10 // that every socket has
	if size < plenty {
		return nil
	}
	return errors.Join(
		setBuffer(c.fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, 2*size),
		setBuffer(c.fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, 2*size))
}

var errNoAnswer = errors.New("no answer from the kernel")

func (c *nftConn) send(b []byte) error {
	return os.NewSyscallError("send netlink", unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
}

// answer is a message from the kernel. The body is valid until the next read.
type answer struct {
	kind, flags uint16
	sequence    uint32
	body        []byte // after struct nlmsghdr
}

// message returns a copy of a message of nf_tables.
func (a answer) message() nftMessage {
	return nftMessage{kind: a.kind & 0xff, family: family(a.body[0]), attrs: bytes.Clone(a.body[4:])}
}

// receive reads once and calls each for every message. It returns false if there
// was nothing to read. The error is the first that the kernel reports, or that of
// reading.
func (c *nftConn) receive(each func(answer)) (more bool, err error) {
	n, _, flags, _, err := unix.Recvmsg(c.fd, c.buffer, nil, unix.MSG_DONTWAIT)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return false, nil
	case errors.Is(err, unix.EINTR):
		return true, nil
	case err != nil:
		return false, os.NewSyscallError("receive netlink", err)
	case flags&unix.MSG_TRUNC != 0:
		return false, errMalformed
	}
	for b := c.buffer[:n]; len(b) >= headerLen; {
		size := int(binary.NativeEndian.Uint32(b))
		if size < headerLen || size > len(b) {
			return true, errors.Join(err, errMalformed)
		}
		a := answer{
			kind: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
			sequence: binary.NativeEndian.Uint32(b[8:]), body: b[unix.SizeofNlMsghdr:size],
		}
		if a.kind == unix.NLMSG_ERROR || a.kind == unix.NLMSG_DONE {
			if errno := -int32(binary.NativeEndian.Uint32(a.body)); errno != 0 && err == nil {
				err = unix.Errno(errno)
			}
		}
		each(a)
		b = b[min(alignAttr(size), len(b)):]
	}
	return true, err
}
