//go:build linux

package nfqueue

import "time"

// run is packets that were read together and leave together. Their ids follow
// each other and end with last.
type run struct {
	due   time.Duration
	last  uint32
	count uint32
}

// ring holds what waits, in the order in which it came and will leave. Its
// memory is fixed. Deadlines are points on the caller's clock.
type ring struct {
	runs    []run // a circle of length runs, from first on
	first   int
	length  int
	packets uint32
	latest  time.Duration // no deadline is later
}

// newRing returns a ring for limit packets. It takes more than that, but is
// full then.
func newRing(limit int) *ring {
	return &ring{runs: make([]run, limit)}
}

// push adds count packets, of which the newest has the id last. A deadline
// before that of the packets ahead is put off until theirs: a smaller delay
// never lets a packet overtake.
func (r *ring) push(last, count uint32, due time.Duration) {
	r.latest = max(r.latest, due)
	r.packets += count
	if r.length < len(r.runs) {
		r.length++
	} else {
		count += r.newest().count // no room for a run of their own: leave together
	}
	*r.newest() = run{due: r.latest, last: last, count: count}
}

func (r *ring) newest() *run {
	return &r.runs[(r.first+r.length-1)%len(r.runs)]
}

// full reports whether too many packets wait.
func (r *ring) full() bool {
	return r.packets > uint32(len(r.runs))
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
	r.length--
}

// clear forgets everything, with the order that was to be kept.
func (r *ring) clear() {
	r.first, r.length, r.packets, r.latest = 0, 0, 0, 0
}
