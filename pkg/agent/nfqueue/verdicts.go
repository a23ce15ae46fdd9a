//go:build linux

package nfqueue

import "encoding/binary"

// verdicts collects verdict messages and sends many in one system call. The
// kernel carries them out in their order. Its memory is fixed.
type verdicts struct {
	buffer []byte
	// batch is the offset of the last message if that is a batch verdict, else
	// -1; batchQueue is that message's queue. A later batch verdict for the same
	// queue replaces it.
	batch      int
	batchQueue uint16
	// err is the first error of send. After it nobody knows which packets left.
	err  error
	send func(message) error
}

// verdictLen is the length of a verdict message of either kind, in bytes.
const verdictLen = headerLen + 12

// maxVerdicts is how many messages are sent at once.
const maxVerdicts = 128

func newVerdicts(send func(message) error) *verdicts {
	return &verdicts{buffer: make([]byte, 0, maxVerdicts*verdictLen), batch: -1, send: send}
}

// accept releases one packet.
func (v *verdicts) accept(queue uint16, id uint32) { v.add(typeVerdict, queue, verdictAccept, id) }

// drop drops one packet.
func (v *verdicts) drop(queue uint16, id uint32) { v.add(typeVerdict, queue, verdictDrop, id) }

// acceptUpTo releases every packet of a queue up to an id.
func (v *verdicts) acceptUpTo(queue uint16, id uint32) {
	if v.batch >= 0 && v.batchQueue == queue {
		binary.BigEndian.PutUint32(v.buffer[v.batch+verdictLen-4:], id)
		return
	}
	offset := v.add(typeVerdictBatch, queue, verdictAccept, id)
	v.batch, v.batchQueue = offset, queue
}

// add appends a message and returns its offset.
func (v *verdicts) add(kind, queue uint16, verdict, id uint32) int {
	if len(v.buffer) == cap(v.buffer) {
		_ = v.flush() // the next flush returns the error again
	}
	offset := len(v.buffer)
	v.batch = -1
	m := message(v.buffer[offset : offset+verdictLen])
	m.fillVerdict(kind, queue, verdict, id)
	v.buffer = v.buffer[:offset+verdictLen]
	return offset
}

// flush sends what was collected. It returns the first error of any flush.
func (v *verdicts) flush() error {
	if len(v.buffer) > 0 {
		if err := v.send(v.buffer); err != nil && v.err == nil {
			v.err = err
		}
		v.buffer, v.batch = v.buffer[:0], -1
	}
	return v.err
}
