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
	const ms = time.Millisecond
	type push struct {
		last, count uint32
		due         time.Duration
	}
	for name, c := range map[string]struct {
		pushes []push
		want   []run
		full   bool
	}{
		"if nothing came, nothing is due": {},
		"what came first is due first": {
			pushes: []push{{1, 1, 5 * ms}, {2, 1, 6 * ms}},
			want:   []run{{5 * ms, 1, 1}, {6 * ms, 2, 1}},
		},
		"if the delay shrinks, nothing overtakes": {
			pushes: []push{{1, 1, 50 * ms}, {2, 1, 21 * ms}, {3, 1, 51 * ms}},
			want:   []run{{50 * ms, 1, 1}, {50 * ms, 2, 1}, {51 * ms, 3, 1}},
		},
		"as many packets as the limit are not too many": {
			pushes: []push{{3, 3, 1 * ms}},
			want:   []run{{1 * ms, 3, 3}},
		},
		"more packets than the limit are too many": {
			pushes: []push{{2, 2, 1 * ms}, {4, 2, 2 * ms}},
			want:   []run{{1 * ms, 2, 2}, {2 * ms, 4, 2}},
			full:   true,
		},
		"if there is no room, the newest leave together": {
			pushes: []push{{1, 1, 1 * ms}, {2, 1, 2 * ms}, {3, 1, 3 * ms}, {4, 1, 4 * ms}, {5, 1, 5 * ms}},
			want:   []run{{1 * ms, 1, 1}, {2 * ms, 2, 1}, {5 * ms, 5, 3}},
			full:   true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRing(3)
			for range 5 { // at every place of the circle
				for _, p := range c.pushes {
					r.push(p.last, p.count, p.due)
				}
				if r.full() != c.full {
					t.Errorf("full is %v", r.full())
				}
				if diff := cmp.Diff(c.want, drain(r), cmp.AllowUnexported(run{})); diff != "" {
					t.Errorf("runs (-want +got)\n%s", diff)
				}
				if r.packets != 0 || r.full() {
					t.Errorf("%d packets left in an empty ring", r.packets)
				}
				r.latest = 0
			}
		})
	}
}

func TestRingClearForgetsTheOrder(t *testing.T) {
	r := newRing(2)
	r.push(1, 1, time.Hour)
	r.clear()
	r.push(2, 1, time.Second)
	want := []run{{time.Second, 2, 1}}
	if diff := cmp.Diff(want, drain(r), cmp.AllowUnexported(run{})); diff != "" {
		t.Errorf("runs (-want +got)\n%s", diff)
	}
}
