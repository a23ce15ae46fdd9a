//go:build linux

package nfqueue

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// fakeQueue is a queue of the kernel.
type fakeQueue struct {
	lastID  uint32
	waiting []uint32
	maxLen  uint32
}

// fakeKernel keeps packets in queues and returns its messages in batches, as the
// kernel does.
type fakeKernel struct {
	queues   map[uint16]*fakeQueue
	unread   []reply
	left     map[uint16][]uint32 // ids that left, by queue; 0 for one that was not queued
	late     int                 // packets that arrive in queue 1 just before the next answer
	refusals map[uint16]error    // of requests, by queue
	slow     time.Duration       // how long receive takes
	broken   error               // what receive returns
	jam      uint32              // packets in the longest backlog
	reticent bool                // says nothing of its backlog
	closed   bool
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{queues: make(map[uint16]*fakeQueue), left: make(map[uint16][]uint32), refusals: make(map[uint16]error)}
}

// arrive puts packets into a queue. Packets without room pass.
func (k *fakeKernel) arrive(queue uint16, count int) {
	q := k.queues[queue]
	for range count {
		if q == nil || len(q.waiting) >= int(q.maxLen) {
			k.left[queue] = append(k.left[queue], 0)
			continue
		}
		q.lastID++
		q.waiting = append(q.waiting, q.lastID)
		k.unread = append(k.unread, reply{isPacket: true, packet: packet{queue: queue, id: q.lastID}})
	}
}

func (k *fakeKernel) send(m message) error {
	if k.closed {
		return unix.EBADF
	}
	for ; len(m) > 0; m = m[binary.NativeEndian.Uint32(m):] {
		kind, queue := binary.NativeEndian.Uint16(m[4:]), binary.BigEndian.Uint16(m[18:])
		if kind == typeConfig {
			k.configure(queue, m[:binary.NativeEndian.Uint32(m)])
			continue
		}
		k.release(queue, kind, binary.BigEndian.Uint32(m[headerLen+8:]))
	}
	return nil
}

func (k *fakeKernel) release(queue, kind uint16, id uint32) {
	q := k.queues[queue]
	if q == nil {
		k.unread = append(k.unread, reply{answer: unix.ENODEV})
		return
	}
	q.waiting = slices.DeleteFunc(q.waiting, func(one uint32) bool {
		leaves := one == id || kind == typeVerdictBatch && int32(one-id) <= 0
		if leaves {
			k.left[queue] = append(k.left[queue], one)
		}
		return leaves
	})
}

func (k *fakeKernel) configure(queue uint16, m message) {
	k.arrive(1, k.late)
	k.late = 0
	if err := k.refusals[queue]; err != nil {
		k.unread = append(k.unread, reply{answer: err})
		return
	}
	for attrs := m[headerLen:]; len(attrs) > 0; attrs = attrs[binary.NativeEndian.Uint16(attrs):] {
		value := binary.BigEndian.Uint32(attrs[unix.SizeofNlAttr:])
		switch kind := binary.NativeEndian.Uint16(attrs[2:]); {
		case kind == attrConfigCommand && value == commandBind:
			k.queues[queue] = &fakeQueue{}
		case kind == attrConfigCommand && value == commandUnbind:
			delete(k.queues, queue)
		case kind == attrConfigMaxLen:
			k.queues[queue].maxLen = value
		}
	}
	k.unread = append(k.unread, reply{})
}

func (k *fakeKernel) receive() (b batch, err error) {
	if k.broken != nil {
		return b, k.broken
	}
	if k.slow > 0 {
		time.Sleep(k.slow)
	}
	for len(k.unread) > 0 && b.messages < batchSize {
		r := k.unread[0]
		k.unread = k.unread[1:]
		b.messages++
		if r.isPacket {
			b.packets = append(b.packets, r.packet)
			continue
		}
		b.answers++
		err = errors.Join(err, r.answer)
	}
	return b, err
}

func (k *fakeKernel) backlog() (packets uint32, known bool) { return k.jam, !k.reticent }

func (k *fakeKernel) close() error {
	k.closed = true
	return nil
}
