//go:build linux

package nfqueue

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// receiveBuffer is the memory for unread messages of delayed packets in bytes,
	// about 900 for each.
	receiveBuffer = 16 << 20
	// batchSize is how many messages one system call reads at most.
	batchSize = 128
	// messageRoom is the room for one message in bytes; one takes about 100.
	messageRoom = 256
)

// socket is a netlink socket that reads queues. It is not safe for concurrent
// use.
type socket struct {
	fd      int
	headers [batchSize]mmsghdr
	vectors [batchSize]unix.Iovec
	buffers [batchSize][messageRoom]byte
	packets [batchSize]packet // what the last receive returned
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

// openSocket returns a socket that is bound to no queue yet, with so much memory for
// unread messages in bytes. The kernel doubles it.
func openSocket(memory int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	s := &socket{fd: fd}
	for i := range s.headers {
		s.vectors[i].Base = &s.buffers[i][0]
		s.vectors[i].SetLen(messageRoom)
		s.headers[i].header.Iov = &s.vectors[i]
		s.headers[i].header.SetIovlen(1)
	}
	if err := s.prepare(memory); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare netlink socket: %w", err), s.close())
	}
	return s, nil
}

func (s *socket) prepare(memory int) error {
	if err := setBuffer(s.fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, memory); err != nil {
		return err
	}
	// Packet ids show which messages were lost. ENOBUFS would tell less, and
	// would make the kernel drop messages until all is read.
	if err := unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_NO_ENOBUFS, 1); err != nil {
		return os.NewSyscallError("NETLINK_NO_ENOBUFS", err)
	}
	return os.NewSyscallError("bind", unix.Bind(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
}

// setBuffer sets the size of a socket's buffer, in bytes. One larger than
// net.core.rmem_max or wmem_max needs the option force, and for that NET_ADMIN in
// the initial user namespace. Without, that maximum is what we get.
func setBuffer(fd, force, plain, size int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size)
	if errors.Is(err, unix.EPERM) {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, size)
	}
	return os.NewSyscallError("set socket buffer", err)
}

// send sends requests to the kernel, which has carried them out when send
// returns. Its answers are among the messages to receive.
func (s *socket) send(m message) error {
	_, err := unix.Write(s.fd, m)
	return os.NewSyscallError("write netlink", err)
}

// batch is what one receive read.
type batch struct {
	messages int
	packets  []packet // valid until the next receive
	answers  int      // to requests
}

// receive reads up to batchSize messages. It never blocks: the batch is empty if
// there is nothing to read. The error is that of reading, or of a request that
// the kernel refused; the batch has the packets that were read in any case.
func (s *socket) receive() (batch, error) {
	n, err := s.recvmmsg()
	if err != nil {
		return batch{}, err
	}
	b := batch{messages: n, packets: s.packets[:0]}
	for i := range n {
		r, malformed := parseReply(s.buffers[i][:min(s.headers[i].length, messageRoom)])
		switch {
		case malformed != nil:
			return b, errors.Join(err, malformed)
		case r.isPacket:
			b.packets = append(b.packets, r.packet)
		case errors.Is(r.answer, unix.ENOENT):
			// A verdict came too late: the kernel drops queued packets when a
			// device goes down or a hook is removed.
		default:
			b.answers++
			err = errors.Join(err, r.answer)
		}
	}
	return b, err
}

// request sends a request and returns the kernel's answer. It calls receive
// until that is read, since packets may be ahead of it.
func request(m message, send func(message) error, receive func() (batch, error)) error {
	if err := send(m); err != nil {
		return err
	}
	for {
		b, err := receive()
		switch {
		case err != nil:
			return err
		case b.answers > 0:
			return nil
		case b.messages == 0:
			return errors.New("no answer from the kernel")
		}
	}
}

// request is for a socket that nobody else reads.
func (s *socket) request(m message) error { return request(m, s.send, s.receive) }

func (s *socket) recvmmsg() (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.headers)), batchSize, 0, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR, unix.ENOBUFS:
			continue
		default:
			return 0, os.NewSyscallError("recvmmsg", errno)
		}
	}
}

// close gives back every queue that the socket reads. The kernel drops the
// packets in them.
func (s *socket) close() error {
	return os.NewSyscallError("close", unix.Close(s.fd))
}
