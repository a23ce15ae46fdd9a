//go:build linux

package nfqueue

import (
	"math/rand/v2"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/distribution"
	"github.com/tidelay/tidelay/pkg/fault"
)

// shape decides what happens to each packet of one fault, in the order in
// which they come: netem's meaning of every impairment (sch_netem.c), so that
// both engines do the same.
type shape struct {
	fault.Impairment
	random *rand.Rand
	table  []int16 // of the jitter

	// The last value of each correlated sequence.
	lastLoss, lastDelay, lastReorder float64
	bad                              bool // Gilbert-Elliott
	state                            int  // four-state model, 1 to 4
	sinceReorder                     uint32
	linkFree                         time.Duration // when the link of a rate is free again
}

// newShape starts the sequences of an impairment from its seed.
func newShape(i fault.Impairment) *shape {
	seed := rand.Uint64()
	if i.Seed != nil {
		seed = *i.Seed
	}
	random := rand.New(rand.NewPCG(seed, 0))
	s := &shape{
		Impairment: i, random: random, state: 1,
		lastLoss: random.Float64(), lastDelay: random.Float64(), lastReorder: random.Float64(),
	}
	if i.Jitter > 0 {
		s.table = distribution.Table(i.Distribution)
	}
	return s
}

// constant reports whether every packet is late by the same time and nothing
// else happens to it, so that packets leave in the order they came.
func (s *shape) constant() bool {
	return !s.Random() && s.Rate == nil && !s.Partition
}

// longest is the longest that a packet can be late, without what a rate adds.
func (s *shape) longest() time.Duration {
	const tails = 4 // standard deviations, where the tables end
	return s.Delay + tails*s.Jitter
}

// decide says whether a packet of a size in bytes, without its Ethernet
// header, is lost, and otherwise when it leaves.
func (s *shape) decide(now time.Duration, size uint32) (due time.Duration, lost bool) {
	if s.loses() {
		return 0, true
	}
	if s.overtakes() {
		return now, false
	}
	due = now + s.late()
	if s.Rate != nil {
		s.linkFree = max(s.linkFree, now) + s.transmission(size)
		due = s.linkFree + due - now
	}
	return due, false
}

// chance reports whether something of a probability happens. With a
// correlation, a part of each value is that of the one before.
func (s *shape) chance(c fault.Chance, last *float64) bool {
	return s.correlated(c.Correlation, last) < share(c.Percent)
}

// correlated returns a value from 0 up to 1.
func (s *shape) correlated(correlation fault.Percent, last *float64) float64 {
	value := s.random.Float64()
	if rho := share(correlation); rho > 0 {
		value = (1-rho)*value + rho**last
		*last = value
	}
	return value
}

func (s *shape) loses() bool {
	switch {
	case s.Loss != nil:
		return s.chance(*s.Loss, &s.lastLoss)
	case s.GilbertElliott != nil:
		return s.losesGilbertElliott(s.GilbertElliott)
	case s.FourState != nil:
		return s.losesFourState(s.FourState)
	default:
		return false
	}
}

// losesGilbertElliott changes the state of the link, and then loses with the
// probability of the state in which the packet came.
func (s *shape) losesGilbertElliott(m *fault.GilbertElliott) bool {
	change, loss := m.ToBad, m.LossInGood
	if s.bad {
		change, loss = m.ToGood, m.LossInBad
	}
	if s.random.Float64() < share(change) {
		s.bad = !s.bad
	}
	return s.random.Float64() < share(loss)
}

// losesFourState moves in the Markov chain and loses in states 3 and 4.
func (s *shape) losesFourState(m *fault.FourState) bool {
	value := s.random.Float64()
	switch s.state {
	case 1:
		switch {
		case value < share(m.P14):
			s.state = 4
		case value < share(m.P14)+share(m.P13):
			s.state = 3
		}
	case 2:
		if value < share(m.P23) {
			s.state = 3
		}
	case 3:
		switch {
		case value < share(m.P32):
			s.state = 2
		case value < share(m.P32)+share(m.P31):
			s.state = 1
		}
	default:
		s.state = 1
	}
	return s.state > 2
}

// overtakes reports whether a packet goes at once, ahead of those that wait.
func (s *shape) overtakes() bool {
	r := s.Reorder
	if r == nil {
		return false
	}
	if s.sinceReorder < r.Gap-1 || !s.chance(fault.Chance{Percent: r.Percent, Correlation: r.Correlation}, &s.lastReorder) {
		s.sinceReorder++
		return false
	}
	s.sinceReorder = 0
	return true
}

// late is the delay of one packet.
func (s *shape) late() time.Duration {
	if s.Jitter == 0 {
		return s.Delay
	}
	last := len(s.table) - 1
	sample := s.table[min(int(s.correlated(s.Correlation, &s.lastDelay)*float64(last+1)), last)]
	return max(0, s.Delay+time.Duration(int64(s.Jitter)*int64(sample)/distribution.Scale))
}

// ethernetHeader is part of what a link transmits, as netem counts it.
const ethernetHeader = 14

// transmission is how long a packet occupies the link of a rate.
func (s *shape) transmission(size uint32) time.Duration {
	r := s.Rate
	bytes := max(0, int64(size)+ethernetHeader+int64(r.PacketOverhead))
	if r.CellSize > 0 {
		cells := (bytes + int64(r.CellSize) - 1) / int64(r.CellSize)
		bytes = max(0, cells*(int64(r.CellSize)+int64(r.CellOverhead)))
	}
	return time.Duration(uint64(bytes) * 8 * uint64(time.Second) / r.BitsPerSecond)
}

// share is a probability from 0 to 1.
func share(p fault.Percent) float64 { return float64(p) / float64(fault.Hundred) }
