//go:build linux

package nfqueue

import (
	"slices"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// A link of 8 Mbit/s takes 1 ms for a packet of millisecondSize.
const millisecondSize = 986

func link(delay time.Duration, bitsPerSecond uint64) fault.Impairment {
	return fault.Impairment{Delay: delay, Rate: &fault.Rate{BitsPerSecond: bitsPerSecond}}
}

// What waits before a link that gets faster goes at the new speed, and nobody
// who comes later overtakes.
func TestAFasterLinkEmptiesItsQueue(t *testing.T) {
	l := newLaneTest(t, link(10*ms, 8_000_000), 1000)
	l.come(4, millisecondSize)
	l.pass(ms) // one is through and on its way
	l.become(link(10*ms, 16_000_000), 1000, l.now)
	l.come(1, millisecondSize)
	for n, after := range []time.Duration{10 * ms, ms / 2, ms / 2, ms / 2, ms / 2} {
		if got := l.pass(after - 1); len(got) != 0 {
			t.Errorf("packet %d: %v left early", n+1, got)
		}
		if got := ids(l.pass(1)); !slices.Equal(got, []uint32{uint32(n + 1)}) {
			t.Errorf("packet %d: %v left", n+1, got)
		}
	}
}

// A slower link does not hold up what has been given to it, and then starts.
func TestASlowerLinkIsForThoseThatCome(t *testing.T) {
	l := newLaneTest(t, link(0, 8_000_000), 1000)
	l.come(2, millisecondSize)
	l.become(link(0, 4_000_000), 1000, l.now)
	l.come(1, millisecondSize)
	for n, after := range []time.Duration{ms, ms, 2 * ms} {
		if got := l.pass(after - 1); len(got) != 0 {
			t.Errorf("packet %d: %v left early", n+1, got)
		}
		if got := ids(l.pass(1)); !slices.Equal(got, []uint32{uint32(n + 1)}) {
			t.Errorf("packet %d: %v left", n+1, got)
		}
	}
}

// Minutes of queue before a link that was too slow by mistake end with it.
func TestAMistakenRateEnds(t *testing.T) {
	for name, next := range map[string]fault.Impairment{
		"a faster link":            link(0, 8_000_000_000),
		"no link":                  {Delay: ms},
		"a faster link, a delay":   link(ms, 8_000_000_000),
		"no link, but with losses": {Delay: ms, Loss: &fault.Chance{Percent: fault.Hundred / 100}},
	} {
		for _, first := range []fault.Impairment{link(0, 8_000), {Delay: 10 * time.Minute}} {
			l := newLaneTest(t, first, 1000)
			l.come(60, millisecondSize)
			l.become(next, 1000, l.now)
			if got := l.pass(2 * ms); len(got) != 60 {
				t.Errorf("%s: %d of 60 packets left at once", name, len(got))
			}
		}
	}
}
