//go:build kernel

package kernel

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// came reports which numbers came at all.
func (g traffic) came() []bool {
	came := make([]bool, g.sent)
	for _, a := range g.arrivals {
		came[a.number] = true
	}
	return came
}

// lost lists the numbers that never came.
func (g traffic) lost() []int {
	var lost []int
	for number, came := range g.came() {
		if !came {
			lost = append(lost, number)
		}
	}
	return lost
}

// duplicates counts arrivals of what had come before.
func (g traffic) duplicates() int { return len(g.arrivals) - (g.sent - len(g.lost())) }

// reordered counts arrivals after one with a higher number.
func (g traffic) reordered() int {
	count, highest := 0, -1
	for _, a := range g.arrivals {
		if a.number < highest {
			count++
		}
		highest = max(highest, a.number)
	}
	return count
}

// burst is the mean length of a run of losses.
func (g traffic) burst() float64 {
	runs, last := 0, -2
	lost := g.lost()
	for _, number := range lost {
		if number != last+1 {
			runs++
		}
		last = number
	}
	return float64(len(lost)) / float64(max(runs, 1))
}

// delays are those of all arrivals.
func (g traffic) delays() []time.Duration {
	delays := make([]time.Duration, 0, len(g.arrivals))
	for _, a := range g.arrivals {
		delays = append(delays, a.delay)
	}
	return delays
}

// quantile returns the value below which a share of all lies.
func quantile(values []time.Duration, share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

// wantBinomial wants a count of n that happen each with the chance p: within
// the interval that 99.9 % of all counts are in.
func wantBinomial(what string, count, n int, p float64) error {
	const z = 3.2905 // of the normal distribution, both sides together 0.1 %
	mean := float64(n) * p
	half := z*math.Sqrt(mean*(1-p)) + 0.5
	if off := math.Abs(float64(count) - mean); off > half {
		return fmt.Errorf("%s: %d of %d, want %.0f ± %.0f", what, count, n, mean, half)
	}
	return nil
}

// wantQuantile wants a share of all values to be below a point: as many as
// 99.9 % of all samples of this size have there. The lab's own delay
// varies by at most the tolerance.
func wantQuantile(values []time.Duration, share float64, at, tolerance time.Duration) error {
	below := func(point time.Duration) int {
		count := 0
		for _, v := range values {
			if v < point {
				count++
			}
		}
		return count
	}
	what := fmt.Sprintf("below %s", at)
	n, early, late := len(values), below(at), below(at+tolerance)
	want := share * float64(n)
	switch {
	case float64(early) > want:
		return wantBinomial(what, early, n, share)
	case float64(late) < want:
		return wantBinomial(what, late, n, share)
	default:
		return nil
	}
}

// wantNear wants a value within a share of what it should be.
func wantNear(what string, got, want, share float64) error {
	if math.Abs(got-want) > math.Abs(want)*share {
		return fmt.Errorf("%s: %.3f, want %.3f ± %.0f %%", what, got, want, share*100)
	}
	return nil
}

// retry measures again what is off, as wantRTT does: a busy machine can spoil
// a whole series, but not every one.
func retry(t testing.TB, what string, measure func() error) {
	t.Helper()
	for left := attempts - 1; ; left-- {
		err := measure()
		if err == nil {
			return
		}
		if left == 0 {
			t.Errorf("%s: %v", what, err)
			return
		}
		t.Logf("%s, measured again: %v", what, err)
	}
}
