// Package distribution computes a table for each distribution of a jitter: the
// inverse of its cumulative distribution function, sampled at equal steps. The
// kernel's netem gets this table (TCA_NETEM_DELAY_DIST), and the nfqueue engine
// picks from the same one, so that a name means the same with both engines.
package distribution

import (
	"math"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Size is the number of samples of a table. The kernel accepts up to 16384
// (NETEM_DIST_MAX in include/uapi/linux/pkt_sched.h).
const Size = 4096

// Scale is the table's value for one standard deviation (NETEM_DIST_SCALE in
// include/uapi/linux/pkt_sched.h). The largest int16 is therefore four standard
// deviations.
const Scale = 8192

// Table returns the samples of a distribution in ascending order. Their mean is 0
// and, after the tails are cut, their standard deviation is Scale. For Uniform the
// largest value is Scale, because its jitter is a bound and not a deviation.
func Table(d fault.Distribution) []int16 {
	var values []float64
	switch d {
	case fault.Normal:
		values = standardize(sample(normal))
	case fault.Pareto:
		values = standardize(sample(pareto))
	case fault.ParetoNormal:
		values = standardize(sample(paretoNormal))
	default:
		values = sample(uniform)
	}
	table := make([]int16, len(values))
	for i, value := range values {
		table[i] = int16(min(math.Round(value*Scale), math.MaxInt16))
	}
	return table
}

// sample evaluates a quantile function at the middle of Size equal steps.
func sample(quantile func(p float64) float64) []float64 {
	values := make([]float64, Size)
	for i := range values {
		values[i] = quantile((float64(i) + 0.5) / Size)
	}
	return values
}

// standardize shifts and scales values to mean 0 and standard deviation 1, and
// cuts those beyond the range of a table. A cut changes the mean and the deviation
// again, so this is repeated until both are right.
func standardize(values []float64) []float64 {
	const cut, rounds, enough = -math.MinInt16 / Scale, 100, 1e-6
	for range rounds {
		var sum, squares float64
		for _, value := range values {
			sum += value
			squares += value * value
		}
		mean := sum / Size
		deviation := math.Sqrt(squares/Size - mean*mean)
		if math.Abs(mean) < enough && math.Abs(deviation-1) < enough {
			break
		}
		for i, value := range values {
			values[i] = min(max((value-mean)/deviation, -cut), cut)
		}
	}
	return values
}

// Each quantile function maps a probability between 0 and 1 to a value.

func uniform(p float64) float64 { return 2*p - 1 }

func normal(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// pareto has the shape 3, the smallest integer for which mean and variance exist.
func pareto(p float64) float64 {
	const shape = 3
	return math.Pow(1-p, -1.0/shape)
}

// paretoNormal is the sum of one part normal and three parts pareto, each with
// deviation 1. Its left tail is short and its right tail long, like the RTTs of
// long distances.
func paretoNormal(p float64) float64 {
	deviation := math.Sqrt(0.75) // of pareto
	return normal(p) + 3*pareto(p)/deviation
}
