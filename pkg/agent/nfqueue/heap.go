//go:build linux

package nfqueue

import "time"

// held is one packet that leaves by itself.
type held struct {
	due time.Duration
	id  uint32
}

// before reports whether a leaves before b. Of two with the same deadline the
// one that came first does; ids wrap round, and those that wait are close.
func (h held) before(b held) bool {
	return h.due < b.due || h.due == b.due && int32(h.id-b.id) < 0
}

// deadlines is a binary heap of packets that leave in the order of their
// deadlines. It is not container/heap, which allocates for every packet.
type deadlines []held

func (d *deadlines) push(h held) {
	*d = append(*d, h)
	heap := *d
	for i := len(heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !heap[i].before(heap[parent]) {
			return
		}
		heap[i], heap[parent] = heap[parent], heap[i]
		i = parent
	}
}

// pop removes the packet that is due first.
func (d *deadlines) pop() held {
	heap := *d
	top, last := heap[0], len(heap)-1
	heap[0] = heap[last]
	if last == 0 && cap(heap) > keptRoom {
		*d = nil // give the memory of a burst back
		return top
	}
	*d = heap[:last]
	d.sink(0)
	return top
}

func (d deadlines) sink(i int) {
	for {
		least := i
		for _, child := range [...]int{2*i + 1, 2*i + 2} {
			if child < len(d) && d[child].before(d[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		d[i], d[least] = d[least], d[i]
		i = least
	}
}

// change gives every packet another deadline.
func (d deadlines) change(to func(due time.Duration) time.Duration) {
	for i := range d {
		d[i].due = to(d[i].due)
	}
	for i := len(d)/2 - 1; i >= 0; i-- {
		d.sink(i)
	}
}
