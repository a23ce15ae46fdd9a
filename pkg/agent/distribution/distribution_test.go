package distribution_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/distribution"
	"github.com/tidelay/tidelay/pkg/fault"
)

func TestTables(t *testing.T) {
	for d, want := range map[fault.Distribution]struct{ deviation, skew float64 }{
		fault.Uniform:      {1 / math.Sqrt(3), 0},
		fault.Normal:       {1, 0},
		fault.Pareto:       {1, 1},
		fault.ParetoNormal: {1, 1},
	} {
		table := distribution.Table(d)
		if len(table) != distribution.Size || !slices.IsSorted(table) {
			t.Fatalf("%s: %d samples, sorted %t", d, len(table), slices.IsSorted(table))
		}
		var sum, squares, cubes float64
		for _, sample := range table {
			x := float64(sample) / distribution.Scale
			sum, squares, cubes = sum+x, squares+x*x, cubes+x*x*x
		}
		mean, deviation := sum/distribution.Size, math.Sqrt(squares/distribution.Size)
		t.Logf("%s: mean %.4f, deviation %.4f, skew %.3f, from %.3f to %.3f", d, mean, deviation, cubes/distribution.Size,
			float64(table[0])/distribution.Scale, float64(table[len(table)-1])/distribution.Scale)
		if math.Abs(mean) > 0.005 || math.Abs(deviation-want.deviation) > 0.005 {
			t.Errorf("%s: mean %.4f, deviation %.4f, want 0 and %.2f", d, mean, deviation, want.deviation)
		}
		if skewed := cubes/distribution.Size > 0.5; skewed != (want.skew > 0) {
			t.Errorf("%s: skew %.3f", d, cubes/distribution.Size)
		}
	}
}

// What a table can add to a delay is what fault.LongestDelay says.
func TestTheLongestDelay(t *testing.T) {
	const delay, jitter = time.Second, 100 * time.Millisecond
	for _, d := range []fault.Distribution{fault.Uniform, fault.Normal, fault.Pareto, fault.ParetoNormal} {
		table := distribution.Table(d)
		got := delay + jitter*time.Duration(slices.Max(table))/distribution.Scale
		want := fault.Impairment{Delay: delay, Jitter: jitter, Distribution: d}.LongestDelay()
		if got > want {
			t.Errorf("%s: a packet can be %s late, beyond the longest delay of %s", d, got, want)
		}
		if d == fault.Uniform && want-got > time.Millisecond {
			t.Errorf("%s: the latest packet is %s late, want about %s", d, got, want)
		}
	}
	if got := (fault.Impairment{Delay: delay}).LongestDelay(); got != delay {
		t.Errorf("without a jitter: %s, want %s", got, delay)
	}
}
