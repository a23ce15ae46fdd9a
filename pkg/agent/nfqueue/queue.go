//go:build linux

package nfqueue

import (
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// queue is one kernel queue as this process sees it: the waiting packets of one
// fault in one direction.
//
// Packets that leave in the order of their arrival wait in the fifo, and one
// batch verdict releases all that are due. Packets that may overtake each other
// wait in the heap, and each gets a verdict of its own.
//
// A batch verdict also releases every older packet of the queue. Therefore a
// packet enters the fifo only while the heap is empty. Whatever is in the heap
// is then newer than everything in the fifo.
type queue struct {
	number   uint16
	emulator *emulator
	limit    uint32 // how many packets may wait

	fifo ring
	heap deadlineHeap
	// newest is the id of the packet that arrived last.
	newest uint32
	// early counts packets that left before their deadline. dropped counts
	// packets that the impairment lost or that found the queue of a rate full.
	early, dropped uint64
}

// packetLimit returns how many packets may wait, given the memory for them in
// bytes. It costs nothing until packets wait.
func packetLimit(memory uint64) uint32 {
	const mostPackets = 1 << 24
	return uint32(min(max(1, memory/fault.PacketMemory), mostPackets))
}

// waiting is how many packets the queue has.
func (q *queue) waiting() uint32 { return q.fifo.packets + uint32(len(q.heap)) }

// enqueue gives an arriving packet its deadline, or drops it at once.
func (q *queue) enqueue(p packet, now time.Duration, out *verdicts) {
	q.countUnseen(p.id)
	if q.keepsOrder() {
		q.fifo.push(p.id, now+q.emulator.Delay)
		return
	}
	if q.emulator.Rate != nil && q.waiting() >= q.limit {
		q.drop(p.id, out) // a link drops what does not fit; without one the oldest leaves early
		return
	}
	deadline, lost := q.emulator.schedule(now, p.size, p.device)
	if lost {
		q.drop(p.id, out)
		return
	}
	q.heap.push(delayedPacket{deadline: deadline, id: p.id})
}

// countUnseen notes that a packet arrived. The kernel numbers the packets of a
// queue without gaps. A missing number is that of a packet whose message found
// no room in the receive buffer; the kernel let it pass (fail-open).
func (q *queue) countUnseen(id uint32) {
	q.early += uint64(id - q.newest - 1)
	q.newest = id
}

// keepsOrder reports whether an arriving packet leaves after all that wait.
func (q *queue) keepsOrder() bool { return q.emulator.isConstant() && len(q.heap) == 0 }

func (q *queue) drop(id uint32, out *verdicts) {
	q.dropped++
	out.drop(q.number, id)
}

// releaseDue releases the packets that are due, and the oldest ones as long as
// more wait than may, but no more than most. It returns how many left.
func (q *queue) releaseDue(now time.Duration, most uint32, out *verdicts) (released uint32) {
	for released < most {
		first, ok := q.fifo.first()
		if !ok || !q.mustLeave(first.deadline, now) {
			break
		}
		leaving := q.fifo.pop(most - released)
		q.countEarly(leaving.count, leaving.deadline, now)
		out.acceptUpTo(q.number, leaving.last)
		released += leaving.count
	}
	for ; released < most && len(q.heap) > 0 && q.mustLeave(q.heap[0].deadline, now); released++ {
		q.countEarly(1, q.heap[0].deadline, now)
		out.accept(q.number, q.heap.pop().id)
	}
	return released
}

// hasDue reports whether releaseDue would release a packet.
func (q *queue) hasDue(now time.Duration) bool {
	next, ok := q.nextDeadline()
	return ok && q.mustLeave(next, now)
}

func (q *queue) mustLeave(deadline, now time.Duration) bool {
	return deadline <= now || q.waiting() > q.limit
}

func (q *queue) countEarly(packets uint32, deadline, now time.Duration) {
	if deadline > now {
		q.early += uint64(packets)
	}
}

// nextDeadline returns when the next packet is due, and false if none waits.
func (q *queue) nextDeadline() (deadline time.Duration, ok bool) {
	first, ok := q.fifo.first()
	if len(q.heap) > 0 && (!ok || q.heap[0].deadline < first.deadline) {
		return q.heap[0].deadline, true
	}
	return first.deadline, ok
}

// setImpairment changes the impairment for packets that arrive from now on. The
// counters go on. A waiting packet keeps its deadline, but waits no longer than a
// packet that arrives now. Therefore a delay of minutes that was set by mistake
// ends with the change.
func (q *queue) setImpairment(i fault.Impairment, limit uint32, now time.Duration) {
	previous := q.emulator
	q.emulator, q.limit = newEmulator(i), limit
	latest := now + q.emulator.LongestDelay()
	q.fifo.clamp(latest)
	if previous.Rate != nil && i.Rate != nil {
		q.changeRate(previous, now)
		return
	}
	q.heap.update(func(deadline time.Duration) time.Duration { return min(deadline, latest) })
}

// changeRate keeps the packets that wait before the link in their queue. At a
// higher rate they are sent faster; at a lower one they keep their deadlines.
// Packets that arrive later are sent after them.
func (q *queue) changeRate(previous *emulator, now time.Duration) {
	next := q.emulator
	sent := func(before time.Duration) time.Duration {
		return now + transmissionLeft(before-now, previous.Rate, next.Rate)
	}
	for device, idleAt := range previous.linkIdleAt {
		next.linkIdleAt[device] = sent(idleAt)
	}
	q.heap.update(func(deadline time.Duration) time.Duration {
		return min(deadline, sent(deadline-previous.Delay)+next.LongestDelay())
	})
}

// transmissionLeft returns how long a link takes for the rest of a transmission
// after its rate changes, if that rest takes left at the old rate. A lower rate
// does not slow it down. The result is 0 if the transmission is over.
func transmissionLeft(left time.Duration, from, to *fault.Rate) time.Duration {
	shorter := min(1, float64(from.BitsPerSecond)/float64(to.BitsPerSecond))
	return time.Duration(float64(max(0, left)) * shorter)
}
