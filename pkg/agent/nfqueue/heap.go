//go:build linux

package nfqueue

import "time"

// delayedPacket is a packet with a deadline of its own, on the scheduler's
// clock.
type delayedPacket struct {
	deadline time.Duration
	id       uint32
}

// before reports whether a leaves before b. Of two packets with the same
// deadline it is the one that arrived first. Ids wrap around; the signed
// difference orders those that wait at the same time.
func (a delayedPacket) before(b delayedPacket) bool {
	return a.deadline < b.deadline || a.deadline == b.deadline && int32(a.id-b.id) < 0
}

// deadlineHeap is a binary heap with the packet that is due first on top.
// container/heap is not used because it allocates for every packet.
type deadlineHeap []delayedPacket

func (h *deadlineHeap) push(p delayedPacket) {
	*h = append(*h, p)
	heap := *h
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
func (h *deadlineHeap) pop() delayedPacket {
	heap := *h
	top, last := heap[0], len(heap)-1
	heap[0] = heap[last]
	if last == 0 && cap(heap) > keptCapacity {
		*h = nil // give the memory of a burst back
		return top
	}
	*h = heap[:last]
	h.siftDown(0)
	return top
}

func (h deadlineHeap) siftDown(i int) {
	for {
		least := i
		for _, child := range [...]int{2*i + 1, 2*i + 2} {
			if child < len(h) && h[child].before(h[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// update replaces every deadline.
func (h deadlineHeap) update(replace func(deadline time.Duration) time.Duration) {
	for i := range h {
		h[i].deadline = replace(h[i].deadline)
	}
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.siftDown(i)
	}
}
