//go:build kernel

package kernel

import (
	"fmt"
	"slices"
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

// rtt is the typical RTT of a series in which no ping may be lost.
func rtt(t testing.TB, from *netlab.Host, to string) time.Duration {
	t.Helper()
	times := roundTrips(t, from, to)
	if typical := machine.Typical(times); typical < precise {
		return typical
	}
	return machine.Typical(longRoundTrips(t, from, to))
}

// roundTrips are the times of a series in which no ping may be lost.
func roundTrips(t testing.TB, from *netlab.Host, to string) []time.Duration {
	t.Helper()
	p := from.Ping(t, to, samples, interval)
	if p.Received != samples {
		t.Fatalf("ping %s: %d of %d replies", to, p.Received, samples)
	}
	return p.RTT
}

// longRoundTrips is roundTrips for what is precise or longer: the summary of
// three pings still has microseconds, and the one in the middle follows from it.
func longRoundTrips(t testing.TB, from *netlab.Host, to string) []time.Duration {
	t.Helper()
	var times []time.Duration
	for range 3 {
		p := from.Ping(t, to, 3, interval)
		if p.Received != 3 {
			t.Fatalf("ping %s: %d of 3 replies", to, p.Received)
		}
		times = append(times, p.Least, 3*p.Mean-p.Least-p.Most, p.Most)
	}
	return times
}

// wantRTT wants the typical RTT to be the one without a fault and the delay
// together, and none to be less than the delay.
func wantRTT(t testing.TB, from *netlab.Host, what, to string, base, delay time.Duration) {
	t.Helper()
	measure, want := roundTrips, base+delay
	if want >= precise {
		measure = longRoundTrips
	}
	netlab.Retry(t, what+", RTT", func() error {
		times := measure(t, from, to)
		got, least := machine.Typical(times), slices.Min(times)
		t.Logf("%s: RTT %s, the least %s, want %s", what, got, least, want)
		if least < delay {
			t.Errorf("%s: a ping takes %s under a delay of %s", what, least, delay)
		}
		if off := (got - want).Abs(); off > tolerance() {
			return fmt.Errorf("%s, want %s: off by %s, tolerance %s", got, want, off, tolerance())
		}
		return nil
	})
}
