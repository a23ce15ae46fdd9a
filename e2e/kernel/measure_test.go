//go:build kernel

package kernel

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
)

// A quick ping is enough for a median that one late scheduling can't move.
const (
	samples  = 21
	interval = 10 * time.Millisecond
)

// precise is the RTT from which on ping prints whole milliseconds for a reply.
const precise = 100 * time.Millisecond

// rtt is the median RTT of a series in which no ping may be lost.
func rtt(t testing.TB, from *netlab.Host, to string) time.Duration {
	t.Helper()
	p := from.Ping(t, to, samples, interval)
	if p.Received != samples {
		t.Fatalf("ping %s: %d of %d replies", to, p.Received, samples)
	}
	if p.Median() < precise {
		return p.Median()
	}
	return longRTT(t, from, to)
}

// longRTT is rtt for what is precise or longer: the summary of three pings still
// has microseconds, and the median follows from it.
func longRTT(t testing.TB, from *netlab.Host, to string) time.Duration {
	t.Helper()
	var medians []time.Duration
	for range 3 {
		p := from.Ping(t, to, 3, interval)
		if p.Received != 3 {
			t.Fatalf("ping %s: %d of 3 replies", to, p.Received)
		}
		medians = append(medians, 3*p.Mean-p.Least-p.Most)
	}
	return netlab.Median(medians)
}

// leastDelayed is below the RTT under any delay of these tests, and above the
// RTT without.
const leastDelayed = 450 * time.Microsecond

// wantRTT wants the median RTT to be what it should be.
func wantRTT(t testing.TB, from *netlab.Host, what, to string, want time.Duration) {
	t.Helper()
	measure := rtt
	if want >= precise {
		measure = longRTT
	}
	netlab.Retry(t, what+", median RTT", func() error {
		got := measure(t, from, to)
		t.Logf("%s: median RTT %s, want %s", what, got, want)
		off := (got - want).Abs()
		// A delay that is as small as the tolerance must still be seen.
		if off > tolerance() || want >= leastDelayed && got <= want/2 {
			return fmt.Errorf("%s, want %s: off by %s, tolerance %s", got, want, off, tolerance())
		}
		return nil
	})
}
