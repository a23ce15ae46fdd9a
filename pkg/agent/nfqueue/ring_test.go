//go:build linux

package nfqueue

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// drain pops every run.
func drain(r *ring) []run {
	var runs []run
	for {
		oldest, ok := r.next()
		if !ok {
			return runs
		}
		runs = append(runs, oldest)
		r.pop()
	}
}

func TestRing(t *testing.T) {
	type push struct {
		id  uint32
		due time.Duration
	}
	for name, c := range map[string]struct {
		pushes []push
		want   []run
	}{
		"if nothing came, nothing is due": {},
		"what came first is due first": {
			pushes: []push{{1, 5 * ms}, {2, 6 * ms}},
			want:   []run{{5 * ms, 1, 1}, {6 * ms, 2, 1}},
		},
		"what came together is one run": {
			pushes: []push{{1, 5 * ms}, {2, 5 * ms}, {3, 5 * ms}},
			want:   []run{{5 * ms, 3, 3}},
		},
		"a run has no gaps": {
			pushes: []push{{1, 5 * ms}, {3, 5 * ms}},
			want:   []run{{5 * ms, 1, 1}, {5 * ms, 3, 1}},
		},
		"if the delay shrinks, nothing overtakes": {
			pushes: []push{{1, 50 * ms}, {2, 21 * ms}, {3, 51 * ms}},
			want:   []run{{50 * ms, 2, 2}, {51 * ms, 3, 1}},
		},
		"ids wrap round": {
			pushes: []push{{0xffffffff, ms}, {0, ms}},
			want:   []run{{ms, 0, 2}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var r ring
			for range smallRing + 1 { // at every place of the circle
				for _, p := range c.pushes {
					r.push(p.id, p.due)
				}
				if diff := cmp.Diff(c.want, drain(&r), cmp.AllowUnexported(run{})); diff != "" {
					t.Errorf("runs (-want +got)\n%s", diff)
				}
				if r.packets != 0 {
					t.Errorf("%d packets left in an empty ring", r.packets)
				}
				r.latest = 0
			}
		})
	}
}

// A ring that grows in the middle of its circle keeps what it has, in order.
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
			if got, ok := r.next(); !ok || got.last != want || got.count != 1 {
				t.Fatalf("%+v leaves in the place of %d", got, want)
			}
			r.pop()
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
	r.push(4, 6*ms) // is not put off until what was
	want := []run{{ms, 1, 1}, {5 * ms, 2, 1}, {5 * ms, 3, 1}, {6 * ms, 4, 1}}
	if diff := cmp.Diff(want, drain(&r), cmp.AllowUnexported(run{})); diff != "" {
		t.Errorf("runs (-want +got)\n%s", diff)
	}
}

func TestRingClearForgetsTheOrder(t *testing.T) {
	var r ring
	r.push(1, time.Hour)
	r.clear()
	r.push(2, time.Second)
	if diff := cmp.Diff([]run{{time.Second, 2, 1}}, drain(&r), cmp.AllowUnexported(run{})); diff != "" {
		t.Errorf("runs (-want +got)\n%s", diff)
	}
}

// The heap gives packets back by their deadlines, and of equals the first that
// came, also after all deadlines have changed.
func TestDeadlines(t *testing.T) {
	var d deadlines
	for i := range uint32(1000) {
		d.push(held{due: time.Duration(i*7919%101) * ms, id: 0xfffffe00 + i})
	}
	d.change(func(due time.Duration) time.Duration { return min(due, 50*ms) })
	last := d.pop()
	for n := 1; len(d) > 0; n++ {
		next := d.pop()
		if !last.before(next) {
			t.Fatalf("pop %d: %+v after %+v", n, next, last)
		}
		last = next
	}
	if last.due != 50*ms {
		t.Errorf("the last was due at %s", last.due)
	}
}
