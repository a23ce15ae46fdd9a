//go:build linux

package nfqueue

import (
	"maps"
	"math/rand/v2"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/distribution"
	"github.com/tidelay/tidelay/pkg/fault"
)

// emulator decides for each packet of one fault whether it is lost and when it
// leaves. It must see the packets in the order of their arrival. Every
// impairment means what it means to netem (net/sched/sch_netem.c), so that both
// engines do the same.
type emulator struct {
	fault.Impairment
	random *rand.Rand
	jitter []int16 // samples of the distribution; nil without jitter

	// The previous value of each correlated random sequence, from 0 to 1.
	lastLoss, lastDelay, lastReorder float64

	inBadState   bool   // of the Gilbert-Elliott model
	state        int    // of the four-state model: 1 to 4
	sinceReorder uint32 // packets since the last reordered one
	// linkIdleAt is when the link of a rate has sent all that waits. Each interface
	// is a link of its own, by index, as each has a netem of its own.
	linkIdleAt map[uint32]time.Duration
}

// newEmulator starts the random sequences from the impairment's seed, or from a
// random one.
func newEmulator(i fault.Impairment) *emulator {
	seed := rand.Uint64()
	if i.Seed != nil {
		seed = *i.Seed
	}
	random := rand.New(rand.NewPCG(seed, 0))
	e := &emulator{
		Impairment: i, random: random, state: 1, linkIdleAt: make(map[uint32]time.Duration),
		lastLoss: random.Float64(), lastDelay: random.Float64(), lastReorder: random.Float64(),
	}
	if i.Jitter > 0 {
		e.jitter = distribution.Table(i.Distribution)
	}
	return e
}

// isConstant reports whether all packets are delayed by the same time and
// nothing else happens to them. They then leave in the order of their arrival.
func (e *emulator) isConstant() bool {
	return !e.Random() && e.Rate == nil && !e.Partition
}

// schedule decides about one packet: it is lost, or it leaves at a deadline. The
// queue before the link of a rate loses what it has no room for. size is in
// bytes, from the IP header on; the kernel hands packets over without their
// Ethernet header, which netem counts. device is the interface's index.
func (e *emulator) schedule(now time.Duration, size, device uint32) (deadline time.Duration, lost bool) {
	if e.drawLoss() {
		return 0, true
	}
	if e.drawReorder() {
		return now, false
	}
	delay := e.drawDelay()
	if e.Rate == nil {
		return now + delay, false
	}
	idleAt, known := e.linkIdleAt[device]
	if !known { // interfaces that were replaced have left theirs
		maps.DeleteFunc(e.linkIdleAt, func(_ uint32, at time.Duration) bool { return at <= now })
	}
	sent := max(idleAt, now) + e.Rate.TransmissionTime(size+fault.EthernetHeader)
	if idleAt > now && sent-now > e.Rate.QueueTime() { // an idle link takes any packet
		return 0, true
	}
	e.linkIdleAt[device] = sent
	return sent + delay, false
}

// draw reports whether an event with the given chance happens.
func (e *emulator) draw(c fault.Chance, last *float64) bool {
	return e.drawCorrelated(c.Correlation, last) < probability(c.Percent)
}

// drawCorrelated returns a random value from 0 to 1. With a correlation rho it
// is (1-rho) parts random and rho parts the previous value, as get_crandom in
// sch_netem.c has it.
func (e *emulator) drawCorrelated(correlation fault.Percent, last *float64) float64 {
	value := e.random.Float64()
	if rho := probability(correlation); rho > 0 {
		value = (1-rho)*value + rho**last
		*last = value
	}
	return value
}

// drawLoss reports whether a packet is lost (loss_event in sch_netem.c).
func (e *emulator) drawLoss() bool {
	switch {
	case e.Loss != nil:
		return e.draw(*e.Loss, &e.lastLoss)
	case e.GilbertElliott != nil:
		return e.drawGilbertElliott(e.GilbertElliott)
	case e.FourState != nil:
		return e.drawFourState(e.FourState)
	default:
		return false
	}
}

// drawGilbertElliott first decides whether the link changes its state. The
// probability of loss is that of the state before (loss_gilb_ell in
// sch_netem.c).
func (e *emulator) drawGilbertElliott(m *fault.GilbertElliott) bool {
	change, loss := m.ToBad, m.LossInGood
	if e.inBadState {
		change, loss = m.ToGood, m.LossInBad
	}
	if e.random.Float64() < probability(change) {
		e.inBadState = !e.inBadState
	}
	return e.random.Float64() < probability(loss)
}

// drawFourState makes one transition of the Markov chain. A packet is lost in
// states 3 and 4 (loss_4state in sch_netem.c).
func (e *emulator) drawFourState(m *fault.FourState) bool {
	value := e.random.Float64()
	switch e.state {
	case 1:
		switch {
		case value < probability(m.P14):
			e.state = 4
		case value < probability(m.P14)+probability(m.P13):
			e.state = 3
		}
	case 2:
		if value < probability(m.P23) {
			e.state = 3
		}
	case 3:
		switch {
		case value < probability(m.P32):
			e.state = 2
		case value < probability(m.P32)+probability(m.P31):
			e.state = 1
		}
	default:
		e.state = 1
	}
	return e.state > 2
}

// drawReorder reports whether a packet leaves at once, before those that wait.
// At least Gap-1 others come between two such packets.
func (e *emulator) drawReorder() bool {
	r := e.Reorder
	if r == nil {
		return false
	}
	if e.sinceReorder < r.Gap-1 || !e.draw(fault.Chance{Percent: r.Percent, Correlation: r.Correlation}, &e.lastReorder) {
		e.sinceReorder++
		return false
	}
	e.sinceReorder = 0
	return true
}

// drawDelay returns the delay of one packet, never below 0: a sample of the
// jitter's distribution around Delay (tabledist in sch_netem.c).
func (e *emulator) drawDelay() time.Duration {
	if e.Jitter == 0 {
		return e.Delay
	}
	last := len(e.jitter) - 1
	sample := e.jitter[min(int(e.drawCorrelated(e.Correlation, &e.lastDelay)*float64(last+1)), last)]
	return max(0, e.Delay+time.Duration(int64(e.Jitter)*int64(sample)/distribution.Scale))
}

// probability converts to a value from 0 to 1.
func probability(p fault.Percent) float64 { return float64(p) / float64(fault.Hundred) }
