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
	// receiveBuffer is what the kernel may spend on messages that wait to be
	// read, about 900 bytes a packet. The kernel doubles it.
	receiveBuffer = 16 << 20
	// batchSize is how many messages one system call reads.
	batchSize = 128
	// slotSize is room for one message, which takes about 100 bytes.
	slotSize = 256
)

// socket is the netlink socket that reads queues. It is not safe for
// concurrent use.
type socket struct {
	file    int
	headers [batchSize]mmsghdr
	vectors [batchSize]unix.Iovec
	slots   [batchSize][slotSize]byte
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

// openSocket returns a socket that reads no queue yet.
func openSocket() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	s := &socket{file: fd}
	for i := range s.headers {
		s.vectors[i].Base = &s.slots[i][0]
		s.vectors[i].SetLen(slotSize)
		s.headers[i].header.Iov = &s.vectors[i]
		s.headers[i].header.SetIovlen(1)
	}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare netlink socket: %w", err), s.close())
	}
	return s, nil
}

func (s *socket) prepare() error {
	// A buffer beyond net.core.rmem_max takes NET_ADMIN in the initial user
	// namespace; without it the system's largest has to do.
	err := unix.SetsockoptInt(s.file, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
	if errors.Is(err, unix.EPERM) {
		err = unix.SetsockoptInt(s.file, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if err != nil {
		return os.NewSyscallError("SO_RCVBUF", err)
	}
	// Lost messages show in the ids. The error would tell less, and it makes
	// the kernel stop sending until all is read.
	if err := unix.SetsockoptInt(s.file, unix.SOL_NETLINK, unix.NETLINK_NO_ENOBUFS, 1); err != nil {
		return os.NewSyscallError("NETLINK_NO_ENOBUFS", err)
	}
	return os.NewSyscallError("bind", unix.Bind(s.file, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
}

// fd is readable when there is something to receive.
func (s *socket) fd() int {
	return s.file
}

// send hands requests to the kernel, which has carried them out when it
// returns; what came of it is among the messages to receive.
func (s *socket) send(m message) error {
	_, err := unix.Write(s.file, m)
	return os.NewSyscallError("write netlink", err)
}

// batch is what one receive found, beside packets.
type batch struct {
	messages int
	// answers to requests came, and err is why some failed.
	answers int
	err     error
}

// receive reads up to batchSize messages and hands every packet to take. It
// never blocks: with nothing to read the batch is empty.
func (s *socket) receive(take func(packet)) (batch, error) {
	n, err := s.recvmmsg()
	if err != nil {
		return batch{}, err
	}
	b := batch{messages: n}
	for i := range n {
		r, err := parseReply(s.slots[i][:min(s.headers[i].length, slotSize)])
		switch {
		case err != nil:
			return b, err
		case r.isPacket:
			take(r.packet)
		case errors.Is(r.outcome, unix.ENOENT):
			// A verdict found nothing to release: the kernel drops what it
			// holds when a device goes down or a hook is removed.
		default:
			b.answers++
			b.err = errors.Join(b.err, r.outcome)
		}
	}
	return b, nil
}

func (s *socket) recvmmsg() (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.file), uintptr(unsafe.Pointer(&s.headers)), batchSize, 0, 0, 0)
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

// close gives back every queue the socket reads. What they hold is dropped.
func (s *socket) close() error {
	return os.NewSyscallError("close", unix.Close(s.file))
}
