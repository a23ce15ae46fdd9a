//go:build linux

package nfqueue

import (
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// lane is one kernel queue: the packets of one fault in one direction.
//
// What waits in the order in which it came is in the ring and leaves by
// verdicts for many; what may overtake is in the heap and leaves one by one. A
// verdict for many also lets go of all that is older. So the ring takes
// packets only when the heap is empty; then all that is in the heap is newer.
type lane struct {
	queue uint16
	shape *shape
	// limit is how many packets wait at most.
	limit uint32

	ring ring
	heap deadlines
	// newest is the id of the packet that came last.
	newest uint32
	// early counts packets that left before they were due, dropped those that
	// were lost on purpose or found the queue of a rate full.
	early, dropped uint64
}

// limitFor returns how many packets of an impairment may wait. Without a rate
// it is all that the memory allows, since nothing is set aside for them.
func limitFor(i fault.Impairment, memory uint64) uint32 {
	const mostPackets = 1 << 24
	most := min(max(1, memory/fault.PacketMemory), mostPackets)
	if i.Rate == nil {
		return uint32(most)
	}
	flight := uint64((i.Delay + i.Jitter).Microseconds()) * i.Rate.PacketsPerSecond() / uint64(time.Second/time.Microsecond)
	return uint32(min(most, i.Rate.Queue()+flight))
}

// waiting is how many packets the lane holds.
func (l *lane) waiting() uint32 { return l.ring.packets + uint32(len(l.heap)) }

// take decides about a packet that came. One that is lost leaves at once.
func (l *lane) take(p packet, now time.Duration, out *verdicts) {
	// Ids are consecutive. A missing one is that of a packet whose message
	// found no room; the kernel let it pass.
	l.early += uint64(p.id - l.newest - 1)
	l.newest = p.id
	if l.shape.constant() && len(l.heap) == 0 {
		l.ring.push(p.id, now+l.shape.Delay)
		return
	}
	if l.shape.Rate != nil && l.waiting() >= l.limit {
		l.dropped++
		out.drop(l.queue, p.id)
		return
	}
	due, lost := l.shape.decide(now, p.size)
	if lost {
		l.dropped++
		out.drop(l.queue, p.id)
		return
	}
	l.heap.push(held{due: due, id: p.id})
}

// letGo lets go of what is due, and of the oldest if there are too many.
func (l *lane) letGo(now time.Duration, out *verdicts) {
	for {
		oldest, ok := l.ring.next()
		full := l.waiting() > l.limit
		if !ok || oldest.due > now && !full {
			break
		}
		if oldest.due > now {
			l.early += uint64(oldest.count)
		}
		l.ring.pop()
		out.acceptUpTo(l.queue, oldest.last)
	}
	for len(l.heap) > 0 {
		full := l.waiting() > l.limit
		if l.heap[0].due > now && !full {
			break
		}
		if l.heap[0].due > now {
			l.early++
		}
		out.accept(l.queue, l.heap.pop().id)
	}
}

// next returns when the lane has to let go of something again.
func (l *lane) next() (due time.Duration, ok bool) {
	oldest, ok := l.ring.next()
	due = oldest.due
	if len(l.heap) > 0 && (!ok || l.heap[0].due < due) {
		return l.heap[0].due, true
	}
	return due, ok
}

// become takes another fault's impairment for the packets that come from now
// on. Those that wait keep their deadlines, but none waits longer than one that
// comes now could: a delay of minutes that was set by mistake ends with it.
func (l *lane) become(i fault.Impairment, limit uint32, now time.Duration) {
	before := l.shape
	l.shape, l.limit = newShape(i), limit
	l.early, l.dropped = 0, 0
	latest := now + l.shape.longest()
	l.ring.clamp(latest)
	if i.Rate != nil && before.Rate != nil {
		// The queue before the link is the same. It empties faster if it can.
		l.shape.linkFree = now + hurry(before.linkFree-now, before.Rate, i.Rate)
		l.heap.change(func(due time.Duration) time.Duration {
			sent := now + hurry(due-before.Delay-now, before.Rate, i.Rate)
			return min(due, sent+l.shape.longest())
		})
		return
	}
	l.heap.change(func(due time.Duration) time.Duration { return min(due, latest) })
}

// hurry is how long a link takes for what takes it d, when it changes to a
// higher rate; 0 for what is through already.
func hurry(d time.Duration, from, to *fault.Rate) time.Duration {
	faster := min(1, float64(from.BitsPerSecond)/float64(to.BitsPerSecond))
	return time.Duration(float64(max(0, d)) * faster)
}

// flush lets go of everything at once, in order.
func (l *lane) flush(out *verdicts) {
	if l.waiting() == 0 {
		return
	}
	l.ring.clear()
	l.heap = nil
	out.acceptUpTo(l.queue, l.newest)
}
