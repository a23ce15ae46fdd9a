//go:build linux

package nfqueue

import "time"

// burst is consecutive packets that leave together: count packets with one
// deadline, of which last is the id of the newest.
type burst struct {
	deadline time.Duration
	last     uint32
	count    uint32
}

// ring is a first-in, first-out ring buffer of packets. Its memory grows with
// the number of bursts and is given back when it is empty. Deadlines are on the
// scheduler's clock.
type ring struct {
	bursts  []burst // length of them, from index start on, wrapping around
	start   int
	length  int
	packets uint32
	latest  time.Duration // no deadline is later
}

const (
	// smallRing is how many bursts a ring has room for at first.
	smallRing = 64
	// keptCapacity is how many bursts or packets a ring or a heap keeps room for
	// when it gets empty, so that a busy queue does not allocate for each batch.
	keptCapacity = 1024
)

// push adds a packet. Its id is greater than that of the packet before it. A
// deadline before that of the packet before it is raised to it, so that no
// packet overtakes another.
func (r *ring) push(id uint32, deadline time.Duration) {
	r.latest = max(r.latest, deadline)
	r.packets++
	if r.length > 0 {
		if newest := r.at(r.length - 1); newest.deadline == r.latest && newest.last+1 == id {
			newest.last, newest.count = id, newest.count+1
			return
		}
	}
	if r.length == len(r.bursts) {
		r.resize(max(2*len(r.bursts), smallRing))
	}
	r.length++
	*r.at(r.length - 1) = burst{deadline: r.latest, last: id, count: 1}
}

func (r *ring) at(i int) *burst { return &r.bursts[(r.start+i)%len(r.bursts)] }

func (r *ring) resize(size int) {
	bursts := make([]burst, size)
	for i := range r.length {
		bursts[i] = *r.at(i)
	}
	r.bursts, r.start = bursts, 0
}

// first returns the oldest burst, which is due first; false if there is none.
func (r *ring) first() (burst, bool) {
	if r.length == 0 {
		return burst{}, false
	}
	return r.bursts[r.start], true
}

// pop removes the oldest burst and returns it, or as many of its packets as most.
// There must be one, and most is at least 1.
func (r *ring) pop(most uint32) burst {
	oldest := &r.bursts[r.start]
	popped := *oldest
	if rest := popped.count - min(popped.count, most); rest > 0 {
		oldest.count = rest
		popped.last, popped.count = popped.last-rest, most
		r.packets -= most
		return popped
	}
	r.packets -= popped.count
	r.start = (r.start + 1) % len(r.bursts)
	if r.length--; r.length == 0 && len(r.bursts) > keptCapacity {
		r.bursts, r.start = nil, 0
	}
	return popped
}

// clamp lowers every deadline that is later than the given one to it.
func (r *ring) clamp(deadline time.Duration) {
	r.latest = min(r.latest, deadline)
	for i := range r.length {
		b := r.at(i)
		b.deadline = min(b.deadline, deadline)
	}
}
