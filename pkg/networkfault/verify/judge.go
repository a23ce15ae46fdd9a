package verify

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Outcome is what came of one measurement, or of one comparison of counters.
type Outcome string

// The outcomes.
const (
	// InTolerance is what was asked for.
	InTolerance Outcome = "in_tolerance"
	// Early and Late are round trips that are too short and too long.
	Early Outcome = "early"
	Late  Outcome = "late"
	// NoAnswer: the peer answers elsewhere, and should here.
	NoAnswer Outcome = "no_answer"
	// NotCut: the peer answers, and should not.
	NotCut Outcome = "not_cut"
	// Unreachable: the peer does not answer at its agent's port either, or to no ping.
	Unreachable Outcome = "unreachable"
	// Mixed: most round trips are too short by the reorder that is asked for, and not all.
	Mixed Outcome = "mixed"
	// LostMore and LostLess are losses by other shares, and Faster is more than a rate.
	LostMore Outcome = "lost_more"
	LostLess Outcome = "lost_less"
	Faster   Outcome = "faster"
	// Begun: counters were read that there is nothing to compare with, yet or again.
	Begun Outcome = "begun"
	// Few: too few packets met a fault to tell.
	Few Outcome = "few"
	// Unclear: what was counted can mean more than one thing.
	Unclear Outcome = "unclear"
	// Dropped: no sample came through the loss that is asked for, or in time through the rate.
	Dropped Outcome = "dropped"
	// Noisy: the baseline varies so much that nothing can be said.
	Noisy Outcome = "noisy"
	// Busy: the agent was measuring for somebody else.
	Busy Outcome = "busy"
	// Unable: the agent has no measurements, such as an old one, or for long none for us.
	Unable Outcome = "unable"
	// NotHeld: the agent does not hold the fault whose counters are read.
	NotHeld Outcome = "not_held"
	// Failed: the agent gave no answer, or none that has the measurement.
	Failed Outcome = "failed"
)

// Outcomes lists all outcomes.
func Outcomes() []Outcome {
	return []Outcome{
		InTolerance, Early, Late, NoAnswer, NotCut, LostMore, LostLess, Faster,
		Begun, Few, Unclear, Unreachable, Mixed, Dropped, Noisy, Busy, Unable, NotHeld, Failed,
	}
}

// verdict is what one measurement says.
func (o Outcome) verdict() Verdict {
	switch o {
	case InTolerance:
		return Right
	case Early, Late, NoAnswer, NotCut, LostMore, LostLess, Faster:
		return Wrong
	default:
		return Unknown
	}
}

// Doubts reports whether an agent may have lost its faults.
func (o Outcome) Doubts() bool { return o == NotHeld || o.verdict() == Wrong }

// isIdle reports whether too little was counted to say anything, so that it goes on.
func (o Outcome) isIdle() bool { return o == Few || o == Unclear }

// Judgement is what a measurement says.
type Judgement struct {
	Outcome Outcome
	// Before and Measured are the medians of the baseline and of the pair; of one that is Early
	// the shortest of each, which it is told by. 0 is for no answer.
	Before, Measured time.Duration
	// Why says in words why there is no verdict, or what counters show; empty for the words of
	// the Outcome.
	Why string
	// Off is how far counters are from what is asked for, as a part of that; 0 for a pair.
	Off float64
}

const (
	// early is how much too short the shortest round trip may be: a timer's tick, and rounding.
	early = 500 * time.Microsecond
	// late is how much too long the median may be, which one late wake-up of a busy machine
	// takes.
	late = 2 * time.Millisecond
	// share is the part of what is asked for that either may be instead, if that is more:
	// packets to two ports may take two ways.
	share = 20
)

// Tolerance says in words how far a round trip may be from what is asked for.
func Tolerance() string {
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
	return fmt.Sprintf("up to %g ms too short or %g ms too long, or %d %% of what is asked for if more; jitter and the network's noise on top",
		ms(early), ms(late), 100/share)
}

// Judge compares a measurement with what is asked for. The baseline is of the same peer at
// the same moment, without any fault.
func (c *Check) Judge(baseline, measured api.Measurement) Judgement {
	before, now := sorted(baseline), sorted(measured)
	j := Judgement{Before: median(before), Measured: median(now)}
	j.Outcome = c.compare(before, now)
	if j.Outcome == Early {
		j.Before, j.Measured = before[0], now[0]
	}
	return j
}

// compare compares the round trips of the baseline and of the pair, each sorted.
func (c *Check) compare(before, now []time.Duration) Outcome {
	asked := c.Asked
	switch {
	case len(before) == 0, len(now) == 0 && c.Port == 0:
		return Unreachable
	case asked.Cut && len(now) == 0:
		return InTolerance
	case asked.Cut:
		return NotCut
	case len(now) == 0 && (asked.Lossy || asked.Rated):
		return Dropped
	case len(now) == 0:
		return NoAnswer
	default:
		return asked.compare(before, now)
	}
}

// compare compares the round trips of the baseline and of the pair. A fault that is not there
// is never InTolerance: with half of what is asked for at most as noise, its round trips are
// too short. Where no delay is asked for, none is too short.
func (a Asked) compare(before, now []time.Duration) Outcome {
	// The baseline varies so much downwards and altogether.
	down, noise := median(before)-before[0], before[len(before)-1]-before[0]
	least := a.least() - max(early, a.least()/share)
	slack := max(late, a.RTT/share)
	shortest := now[0]
	if a.Reordered {
		shortest = median(now)
	}
	isEarly := func(rtt time.Duration) bool { return a.RTT > 0 && rtt < before[0]+least-down }
	switch {
	case a.RTT > 0 && down >= least/2, noise > max(slack, a.RTT/2):
		return Noisy
	case isEarly(now[len(now)-1]), isEarly(shortest) && !a.Reordered:
		return Early
	case isEarly(shortest):
		return Mixed
	case !a.Rated && median(now) > median(before)+a.RTT+a.Spread+slack+noise:
		return Late
	default:
		return InTolerance
	}
}

// sorted returns the samples of a measurement, the shortest first.
func sorted(m api.Measurement) []time.Duration {
	all := make([]time.Duration, 0, len(m.Samples))
	for _, ms := range m.Samples {
		all = append(all, time.Duration(ms*float64(time.Millisecond)))
	}
	slices.Sort(all)
	return all
}

func median(sorted []time.Duration) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)/2]
}
