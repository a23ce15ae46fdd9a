//go:build linux

package nfqueue

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// popAll pops every burst.
func popAll(r *ring) []burst {
	var all []burst
	for {
		if _, ok := r.first(); !ok {
			return all
		}
		all = append(all, r.pop(math.MaxUint32))
	}
}

func TestRing(t *testing.T) {
	type push struct {
		id       uint32
		deadline time.Duration
	}
	for name, c := range map[string]struct {
		pushes []push
		want   []burst
	}{
		"if nothing arrived, nothing is due": {},
		"what arrived first is due first": {
			pushes: []push{{1, 5 * ms}, {2, 6 * ms}},
			want:   []burst{{5 * ms, 1, 1}, {6 * ms, 2, 1}},
		},
		"what arrived together is one burst": {
			pushes: []push{{1, 5 * ms}, {2, 5 * ms}, {3, 5 * ms}},
			want:   []burst{{5 * ms, 3, 3}},
		},
		"a burst has no gaps": {
			pushes: []push{{1, 5 * ms}, {3, 5 * ms}},
			want:   []burst{{5 * ms, 1, 1}, {5 * ms, 3, 1}},
		},
		"if the delay shrinks, nothing overtakes": {
			pushes: []push{{1, 50 * ms}, {2, 21 * ms}, {3, 51 * ms}},
			want:   []burst{{50 * ms, 2, 2}, {51 * ms, 3, 1}},
		},
		"ids wrap round": {
			pushes: []push{{0xffffffff, ms}, {0, ms}},
			want:   []burst{{ms, 0, 2}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var r ring
			for range smallRing + 1 { // start at every index of the buffer
				for _, p := range c.pushes {
					r.push(p.id, p.deadline)
				}
				if diff := cmp.Diff(c.want, popAll(&r), cmp.AllowUnexported(burst{})); diff != "" {
					t.Errorf("bursts (-want +got)\n%s", diff)
				}
				if r.packets != 0 {
					t.Errorf("%d packets left in an empty ring", r.packets)
				}
				r.latest = 0
			}
		})
	}
}

// A burst can be popped in parts.
func TestRingPopsParts(t *testing.T) {
	var r ring
	for id := range uint32(5) {
		r.push(0xfffffffe+id, ms)
	}
	got := []burst{r.pop(2), r.pop(2)}
	if r.packets != 1 {
		t.Errorf("%d packets left of 5", r.packets)
	}
	got = append(got, popAll(&r)...)
	want := []burst{{ms, 0xffffffff, 2}, {ms, 1, 2}, {ms, 2, 1}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(burst{})); diff != "" {
		t.Errorf("bursts (-want +got)\n%s", diff)
	}
}

// A ring that grows while it wraps around keeps its packets in order.
func TestRingGrows(t *testing.T) {
	var r ring
	next, want := uint32(0), uint32(0)
	for round := range 10 {
		for range 1000 * (round + 1) {
			next++
			r.push(next, time.Duration(next))
		}
		for range 700 * (round + 1) {
			want++
			if got, ok := r.first(); !ok || got.last != want || got.count != 1 {
				t.Fatalf("%+v leaves instead of %d", got, want)
			}
			r.pop(1)
		}
	}
	if r.packets != next-want {
		t.Errorf("%d packets wait, want %d", r.packets, next-want)
	}
}

func TestRingClamp(t *testing.T) {
	var r ring
	r.push(1, ms)
	r.push(2, time.Hour)
	r.push(3, 2*time.Hour)
	r.clamp(5 * ms)
	r.push(4, 6*ms) // is not raised to the old deadlines
	want := []burst{{ms, 1, 1}, {5 * ms, 2, 1}, {5 * ms, 3, 1}, {6 * ms, 4, 1}}
	if diff := cmp.Diff(want, popAll(&r), cmp.AllowUnexported(burst{})); diff != "" {
		t.Errorf("bursts (-want +got)\n%s", diff)
	}
}

// Packets leave the heap in the order of their deadlines, and packets of the same
// deadline in the order of their arrival; also after all deadlines changed.
func TestDeadlineHeap(t *testing.T) {
	var h deadlineHeap
	for i := range uint32(1000) {
		h.push(delayedPacket{deadline: time.Duration(i*7919%101) * ms, id: 0xfffffe00 + i})
	}
	h.update(func(deadline time.Duration) time.Duration { return min(deadline, 50*ms) })
	last := h.pop()
	for n := 1; len(h) > 0; n++ {
		next := h.pop()
		if !last.before(next) {
			t.Fatalf("pop %d: %+v after %+v", n, next, last)
		}
		last = next
	}
	if last.deadline != 50*ms {
		t.Errorf("the last was due at %s", last.deadline)
	}
}
