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

// Packets that wait before a link that gets faster are sent at the new rate, and
// packets that arrive later do not overtake them.
func TestAFasterLinkEmptiesItsQueue(t *testing.T) {
	q := newQueueTest(t, link(10*ms, 8_000_000), 1000)
	q.arrive(4, millisecondSize)
	q.pass(ms) // the first one is sent and is in its delay
	q.setImpairment(link(10*ms, 16_000_000), 1000, q.now)
	q.arrive(1, millisecondSize)
	for n, after := range []time.Duration{10 * ms, ms / 2, ms / 2, ms / 2, ms / 2} {
		if got := q.pass(after - 1); len(got) != 0 {
			t.Errorf("packet %d: %v left early", n+1, got)
		}
		if got := ids(q.pass(1)); !slices.Equal(got, []uint32{uint32(n + 1)}) {
			t.Errorf("packet %d: %v left", n+1, got)
		}
	}
}

// A slower link sends packets that wait already at the old rate, and then those
// that arrive at the new one.
func TestASlowerLinkIsForLaterPackets(t *testing.T) {
	q := newQueueTest(t, link(0, 8_000_000), 1000)
	q.arrive(2, millisecondSize)
	q.setImpairment(link(0, 4_000_000), 1000, q.now)
	q.arrive(1, millisecondSize)
	for n, after := range []time.Duration{ms, ms, 2 * ms} {
		if got := q.pass(after - 1); len(got) != 0 {
			t.Errorf("packet %d: %v left early", n+1, got)
		}
		if got := ids(q.pass(1)); !slices.Equal(got, []uint32{uint32(n + 1)}) {
			t.Errorf("packet %d: %v left", n+1, got)
		}
	}
}

// A queue of many seconds before a link that was too slow by mistake ends with the
// mistake.
func TestAMistakenRateEnds(t *testing.T) {
	for name, next := range map[string]fault.Impairment{
		"a faster link":            link(0, 8_000_000_000),
		"no link":                  {Delay: ms},
		"a faster link, a delay":   link(ms, 8_000_000_000),
		"no link, but with losses": {Delay: ms, Loss: &fault.Chance{Percent: fault.Hundred / 100}},
	} {
		for _, first := range []fault.Impairment{link(0, 8_000), {Delay: 10 * time.Minute}} {
			q := newQueueTest(t, first, 1000)
			q.arrive(15, millisecondSize)
			q.setImpairment(next, 1000, q.now)
			if got := q.pass(2 * ms); len(got) != 15 {
				t.Errorf("%s: %d of 15 packets left at once", name, len(got))
			}
		}
	}
}
