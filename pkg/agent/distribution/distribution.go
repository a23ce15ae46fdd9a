// Package distribution computes the tables by which a jitter is spread: the
// inverse of a cumulative distribution function, sampled. The kernel's netem
// takes such a table (TCA_NETEM_DELAY_DIST), and the nfqueue engine draws from
// the same one, so that both engines mean the same by a name.
package distribution

import (
	"math"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Size is how many samples a table has; the kernel takes up to 16384.
const Size = 4096

// Scale is one standard deviation in a table (NETEM_DIST_SCALE in
// include/uapi/linux/pkt_sched.h). An int16 therefore ends at four of them.
const Scale = 8192

// Table returns the samples of a distribution of mean 0, in ascending order.
// Its standard deviation is Scale with the tails already cut. That of Uniform
// is Scale/√3, because a uniform jitter is a bound and not a deviation.
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

// standardize moves and scales values to mean 0 and deviation 1, and cuts them
// at what a table can hold. Each cut takes from both, so it is done until they
// no longer change.
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

// pareto has the shape 3, the least whole one of which mean and variance exist.
func pareto(p float64) float64 {
	const shape = 3
	return math.Pow(1-p, -1.0/shape)
}

// paretoNormal is one part normal and three parts pareto, each of deviation 1,
// at the same probability: a short left and a long right tail, as the RTT of
// long distances has it.
func paretoNormal(p float64) float64 {
	deviation := math.Sqrt(0.75) // of pareto
	return normal(p) + 3*pareto(p)/deviation
}
