//go:build linux

package nfqueue

import "encoding/binary"

// verdicts collects what the kernel is to do, for one system call. Messages in
// one buffer are carried out in their order. Its memory is fixed.
type verdicts struct {
	buffer []byte
	// batch is the place of the last message if it is a verdict for many, which
	// a later one for the same queue makes superfluous.
	batch int
	queue uint16
	// err is the first failure to send; after it the queues are not ours.
	err  error
	send func(message) error
}

// verdictLen is the length of a verdict message of either kind.
const verdictLen = headerLen + 12

// maxVerdicts is how many messages are sent at once.
const maxVerdicts = 128

func newVerdicts(send func(message) error) *verdicts {
	return &verdicts{buffer: make([]byte, 0, maxVerdicts*verdictLen), batch: -1, send: send}
}

func (v *verdicts) accept(queue uint16, id uint32) { v.add(typeVerdict, queue, verdictAccept, id) }
func (v *verdicts) drop(queue uint16, id uint32)   { v.add(typeVerdict, queue, verdictDrop, id) }

// acceptUpTo lets go of every packet up to an id.
func (v *verdicts) acceptUpTo(queue uint16, id uint32) {
	if v.batch >= 0 && v.queue == queue {
		binary.BigEndian.PutUint32(v.buffer[v.batch+verdictLen-4:], id)
		return
	}
	at := v.add(typeVerdictBatch, queue, verdictAccept, id)
	v.batch, v.queue = at, queue
}

// add appends a message and returns its place.
func (v *verdicts) add(kind, queue uint16, verdict, id uint32) int {
	if len(v.buffer) == cap(v.buffer) {
		_ = v.flush() // it is kept for the next flush
	}
	at := len(v.buffer)
	v.batch = -1
	m := message(v.buffer[at : at+verdictLen])
	m.fill(kind, queue, verdict, id)
	v.buffer = v.buffer[:at+verdictLen]
	return at
}

// flush sends what was collected and returns the first error there ever was.
func (v *verdicts) flush() error {
	if len(v.buffer) > 0 {
		if err := v.send(v.buffer); err != nil && v.err == nil {
			v.err = err
		}
		v.buffer, v.batch = v.buffer[:0], -1
	}
	return v.err
}
