package compile

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/tidelay/tidelay/pkg/fault"
)

// set is a set of objects, by their number in order of age.
type set uint64

func (s set) has(i int) bool { return s&(1<<i) != 0 }

func (s *set) add(i int) { *s |= 1 << i }

// each calls f with the number of each object, the oldest first, until f returns false.
func (s set) each(f func(i int) bool) {
	for rest := uint64(s); rest != 0; rest &= rest - 1 {
		if !f(bits.TrailingZeros64(rest)) {
			return
		}
	}
}

// newest returns the newest object of a set that is not empty.
func (s set) newest() int { return 63 - bits.LeadingZeros64(uint64(s)) }

// conflict says that the newer of two objects can't be combined with the older one; or
// that it can't be alone, if both are the same.
type conflict struct {
	newer, older int
	problem      string
}

// impairment returns what a packet meets of one object.
func (c *compilation) impairment(object int, p passage) fault.Impairment {
	o := &c.objects[object]
	switch {
	case o.Topology != nil:
		return p.link.half(p.isFirst)
	case o.RoundTrip:
		return halved(o.Impairment, p.isFirst)
	default:
		return o.Impairment
	}
}

// combine returns what happens to a packet that meets a set of objects.
func (c *compilation) combine(objects set, p passage) (fault.Impairment, *conflict) {
	var all fault.Impairment
	var found *conflict
	var before set
	objects.each(func(i int) bool {
		one := c.impairment(i, p)
		if all.Partition || one.Partition {
			all = fault.Impairment{Partition: true}
		} else if problem := add(&all, one); problem != "" {
			found = &conflict{i, c.culprit(before, i, p), problem}
			return false
		}
		before.add(i)
		return true
	})
	if objects != 0 && found == nil && all.Jitter > all.Delay {
		found = &conflict{objects.newest(), objects.newest(), "the jitter is longer than the delay"}
	}
	return all, found
}

// culprit returns the oldest object of a set that one can't be combined with.
func (c *compilation) culprit(before set, one int, p passage) int {
	culprit := one
	before.each(func(i int) bool {
		all := c.impairment(i, p)
		if add(&all, c.impairment(one, p)) == "" {
			return true
		}
		culprit = i
		return false
	})
	if culprit == one && before != 0 {
		return before.newest() // only together with several
	}
	return culprit
}

// add adds one impairment to others. It returns what can't be combined, or "". No two
// random processes of a kind are one of that kind, but for independent losses.
func add(all *fault.Impairment, one fault.Impairment) string {
	twice := func(a, b bool, what string) string {
		if a && b {
			return what
		}
		return ""
	}
	for _, problem := range []string{
		twice(all.Rate != nil, one.Rate != nil, "two rates for the same packets"),
		twice(losesInBursts(*all) || isCorrelated(all.Loss), one.Loses(), "a loss in bursts, or with a correlation, and another loss"),
		twice(all.Loses(), losesInBursts(one) || isCorrelated(one.Loss), "a loss in bursts, or with a correlation, and another loss"),
		twice(all.Duplicate != nil, one.Duplicate != nil, "two duplications"),
		twice(all.Corrupt != nil, one.Corrupt != nil, "two corruptions"),
		twice(all.Reorder != nil, one.Reorder != nil, "two reorderings"),
		twice(all.Reorder != nil, one.Delay > 0, "a reordering of another delay"),
		twice(all.Delay > 0, one.Reorder != nil, "a reordering of another delay"),
		twice(all.Seed != nil, one.Seed != nil, "two seeds"),
		twice(all.Jitter > 0, one.Jitter > 0 && (all.Distribution != one.Distribution || all.Correlation != 0 || one.Correlation != 0), "jitters of unlike distributions, or with a correlation"),
	} {
		if problem != "" {
			return problem
		}
	}
	if all.Delay+one.Delay > fault.MaxDelay {
		return fmt.Sprintf("delays of more than %s together", fault.MaxDelay)
	}
	if all.Jitter+one.Jitter > fault.MaxJitter {
		return fmt.Sprintf("jitters of more than %s together", fault.MaxJitter)
	}
	if one.Jitter > 0 {
		all.Distribution, all.Correlation = one.Distribution, max(all.Correlation, one.Correlation)
	}
	all.Delay, all.Jitter = all.Delay+one.Delay, all.Jitter+one.Jitter
	all.Loss = addLoss(all.Loss, one.Loss)
	all.GilbertElliott, all.FourState = orElse(all.GilbertElliott, one.GilbertElliott), orElse(all.FourState, one.FourState)
	all.Duplicate, all.Corrupt = orElse(all.Duplicate, one.Duplicate), orElse(all.Corrupt, one.Corrupt)
	all.Reorder, all.Rate, all.Seed = orElse(all.Reorder, one.Reorder), orElse(all.Rate, one.Rate), orElse(all.Seed, one.Seed)
	return ""
}

func losesInBursts(i fault.Impairment) bool { return i.GilbertElliott != nil || i.FourState != nil }

func isCorrelated(loss *fault.Chance) bool { return loss != nil && loss.Correlation > 0 }

func orElse[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// addLoss combines two independent chances, rounded to the precision of fault.Percent.
// What is lost by chance is never all and never nothing, unless one of them is.
func addLoss(a, b *fault.Chance) *fault.Chance {
	if a == nil || b == nil {
		return orElse(a, b)
	}
	const hundred = float64(fault.Hundred)
	passes := (1 - float64(a.Percent)/hundred) * (1 - float64(b.Percent)/hundred)
	percent := fault.Percent(math.Round((1 - passes) * hundred))
	if percent == fault.Hundred && passes > 0 {
		percent--
	}
	return &fault.Chance{Percent: percent}
}
