package netlab

import (
	"fmt"
	"time"
)

// Arrival is one datagram that came in.
type Arrival struct {
	Number int
	// At counts from the start of the flow, Delay from when this one was sent.
	At, Delay time.Duration
}

// Traffic is what became of a Flow.
type Traffic struct {
	Sent     int
	Arrivals []Arrival // in the order in which they came
	// Corrupt counts those whose payload was not what was sent.
	Corrupt int
}

// came reports which numbers came at all.
func (g Traffic) came() []bool {
	came := make([]bool, g.Sent)
	for _, a := range g.Arrivals {
		came[a.Number] = true
	}
	return came
}

// Lost lists the numbers that never came.
func (g Traffic) Lost() []int {
	var lost []int
	for number, came := range g.came() {
		if !came {
			lost = append(lost, number)
		}
	}
	return lost
}

// Duplicates counts arrivals of what had come before.
func (g Traffic) Duplicates() int { return len(g.Arrivals) - (g.Sent - len(g.Lost())) }

// Reordered counts arrivals after one with a higher number.
func (g Traffic) Reordered() int {
	count, highest := 0, -1
	for _, a := range g.Arrivals {
		if a.Number < highest {
			count++
		}
		highest = max(highest, a.Number)
	}
	return count
}

// BurstLength is the mean number of losses in a row.
func (g Traffic) BurstLength() float64 {
	bursts, last := 0, -2
	lost := g.Lost()
	for _, number := range lost {
		if number != last+1 {
			bursts++
		}
		last = number
	}
	return float64(len(lost)) / float64(max(bursts, 1))
}

// Delays are those of all arrivals.
func (g Traffic) Delays() []time.Duration {
	delays := make([]time.Duration, 0, len(g.Arrivals))
	for _, a := range g.Arrivals {
		delays = append(delays, a.Delay)
	}
	return delays
}

// SentBetween is when a lost datagram was sent: between its neighbours that
// came.
func (g Traffic) SentBetween(number int) (earliest, latest time.Duration) {
	latest = time.Hour
	for _, one := range g.Arrivals {
		sent := one.At - one.Delay
		if one.Number < number {
			earliest = max(earliest, sent)
		} else {
			latest = min(latest, sent)
		}
	}
	return earliest, latest
}

// Intact has an error unless every datagram came once and unharmed.
func (g Traffic) Intact() error {
	if lost := len(g.Lost()); lost > 0 || g.Duplicates() > 0 || g.Corrupt > 0 {
		return fmt.Errorf("of %d datagrams %d lost, %d twice, %d corrupt", g.Sent, lost, g.Duplicates(), g.Corrupt)
	}
	return nil
}

// Ordered has an error unless every datagram came once, unharmed and in order.
func (g Traffic) Ordered() error {
	if err := g.Intact(); err != nil {
		return err
	}
	if late := g.Reordered(); late > 0 {
		return fmt.Errorf("of %d datagrams %d after a later one", g.Sent, late)
	}
	return nil
}
