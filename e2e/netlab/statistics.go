package netlab

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Quantile returns the value below which a share of all lies; 0 of no values.
func Quantile(values []time.Duration, share float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

// Median is the value in the middle.
func Median(values []time.Duration) time.Duration { return Quantile(values, 0.5) }

// WantBinomial wants a count of n that happen each with the chance p: within the
// interval that 99.9 % of all counts are in.
func WantBinomial(what string, count, n int, p float64) error {
	const z = 3.2905 // of the normal distribution, both sides together 0.1 %
	mean := float64(n) * p
	half := z*math.Sqrt(mean*(1-p)) + 0.5
	if off := math.Abs(float64(count) - mean); off > half {
		return fmt.Errorf("%s: %d of %d, want %.0f ± %.0f", what, count, n, mean, half)
	}
	return nil
}

// WantQuantile wants a share of all values to be below a point: as many as
// 99.9 % of all samples of this size have there. What the lab itself adds to
// each value varies by at most the tolerance.
func WantQuantile(values []time.Duration, share float64, at, tolerance time.Duration) error {
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
		return WantBinomial(what, early, n, share)
	case float64(late) < want:
		return WantBinomial(what, late, n, share)
	default:
		return nil
	}
}

// WantNear wants a value within a share of what it should be.
func WantNear(what string, got, want, share float64) error {
	if math.Abs(got-want) > math.Abs(want)*share {
		return fmt.Errorf("%s: %.3f, want %.3f ± %.0f %%", what, got, want, share*100)
	}
	return nil
}
