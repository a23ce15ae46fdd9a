//go:build linux

package nfqueue

import "time"

// run is packets that came with one deadline and leave together. Their ids
// follow each other and end with last.
type run struct {
	due   time.Duration
	last  uint32
	count uint32
}

// ring holds packets that leave in the order in which they came. Its memory
// grows with what waits and is given back when nothing does. Deadlines are
// points on the caller's clock.
type ring struct {
	runs    []run // a circle of length runs, from first on
	first   int
	length  int
	packets uint32
	latest  time.Duration // no deadline is later
}

const (
	// smallRing is how many runs a ring begins with.
	smallRing = 64
	// keptRoom is how many runs or packets there is room for after a burst, so
	// that not each batch of a busy queue asks for memory anew.
	keptRoom = 1024
)

// push adds a packet, whose id is one more than that of the packet before it.
// A deadline before that of the packets ahead is put off until theirs: no
// packet overtakes.
func (r *ring) push(id uint32, due time.Duration) {
	r.latest = max(r.latest, due)
	r.packets++
	if r.length > 0 {
		if newest := r.at(r.length - 1); newest.due == r.latest && newest.last+1 == id {
			newest.last, newest.count = id, newest.count+1
			return
		}
	}
	if r.length == len(r.runs) {
		r.resize(max(2*len(r.runs), smallRing))
	}
	r.length++
	*r.at(r.length - 1) = run{due: r.latest, last: id, count: 1}
}

func (r *ring) at(i int) *run { return &r.runs[(r.first+i)%len(r.runs)] }

func (r *ring) resize(size int) {
	runs := make([]run, size)
	for i := range r.length {
		runs[i] = *r.at(i)
	}
	r.runs, r.first = runs, 0
}

// next returns the oldest run, the one that is due first.
func (r *ring) next() (run, bool) {
	if r.length == 0 {
		return run{}, false
	}
	return r.runs[r.first], true
}

// pop removes the oldest run.
func (r *ring) pop() {
	r.packets -= r.runs[r.first].count
	r.first = (r.first + 1) % len(r.runs)
	if r.length--; r.length == 0 && len(r.runs) > keptRoom {
		r.runs, r.first = nil, 0
	}
}

// clamp makes every packet leave by a point in time.
func (r *ring) clamp(due time.Duration) {
	r.latest = min(r.latest, due)
	for i := range r.length {
		one := r.at(i)
		one.due = min(one.due, due)
	}
}

// clear forgets everything, with the order that was to be kept.
func (r *ring) clear() { *r = ring{} }
