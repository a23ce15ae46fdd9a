package netem

import (
	"math"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// maxJitter is the longest jitter of netem, whose sigma is a signed 32-bit
// number of nanoseconds (tabledist in net/sched/sch_netem.c). Newer kernels
// cut a longer one to this, older ones wrap round.
const maxJitter = math.MaxInt32 * time.Nanosecond

// lossModel tells the ways of netem to lose packets (NETEM_LOSS_* in
// include/uapi/linux/pkt_sched.h).
type lossModel uint16

const (
	lossRandom lossModel = iota
	lossFourState
	lossGilbertElliott
)

// options is what this package sets of a netem qdisc and the kernel reports.
// It is comparable. Probabilities are fractions of math.MaxUint32.
type options struct {
	// delay and jitter are exact to the nanosecond where the kernel knows
	// 64-bit times (4.15), else to one tick.
	delay, jitter time.Duration
	// limit is how many packets the queue holds before it drops.
	limit uint32

	delayCorrelation, lossCorrelation, duplicateCorrelation uint32

	loss, duplicate uint32
	// model has its parameters in the kernel's order: p13 p31 p32 p14 p23, or
	// p r h k1.
	model      lossModel
	parameters [5]uint32

	corrupt, corruptCorrelation uint32
	// gap is 0 without reordering.
	gap                         uint32
	reorder, reorderCorrelation uint32

	// rate is in bytes per second; 0 for none.
	rate           uint64
	packetOverhead int32
	cellSize       uint32
	cellOverhead   int32

	// more is set when a qdisc was read that does what this package never asks
	// for.
	more bool
}

// setting is everything that a netem is given.
type setting struct {
	options
	// distribution of the jitter, which the kernel doesn't report. It is "" when
	// it is not known or when there is no jitter.
	distribution fault.Distribution
	// seed is given if seeded.
	seed   uint64
	seeded bool
}

// settingFor translates an impairment. queueMemory is what waiting packets may
// take, in bytes.
func settingFor(i fault.Impairment, queueMemory uint64) setting {
	s := setting{options: options{delay: i.Delay, jitter: i.Jitter, delayCorrelation: fraction(i.Correlation)}, distribution: i.Distribution}
	s.limit = limitFor(i, queueMemory)
	s.setLoss(i)
	if c := i.Duplicate; c != nil {
		s.duplicate, s.duplicateCorrelation = fraction(c.Percent), fraction(c.Correlation)
	}
	if c := i.Corrupt; c != nil {
		s.corrupt, s.corruptCorrelation = fraction(c.Percent), fraction(c.Correlation)
	}
	if r := i.Reorder; r != nil {
		s.gap, s.reorder, s.reorderCorrelation = max(r.Gap, 1), fraction(r.Percent), fraction(r.Correlation)
	}
	if r := i.Rate; r != nil {
		s.rate = r.BitsPerSecond / 8
		s.packetOverhead, s.cellSize, s.cellOverhead = r.PacketOverhead, r.CellSize, r.CellOverhead
	}
	if i.Seed != nil {
		s.seed, s.seeded = *i.Seed, true
	}
	return s
}

func (s *setting) setLoss(i fault.Impairment) {
	switch {
	case i.Partition:
		s.loss = math.MaxUint32
	case i.Loss != nil:
		s.loss, s.lossCorrelation = fraction(i.Loss.Percent), fraction(i.Loss.Correlation)
	case i.GilbertElliott != nil:
		m := i.GilbertElliott
		s.model = lossGilbertElliott
		// The kernel's h is the chance that a packet passes in the bad state, its
		// k1 that one is lost in the good state.
		s.parameters = [5]uint32{fraction(m.ToBad), fraction(m.ToGood), fraction(fault.Hundred - m.LossInBad), fraction(m.LossInGood)}
	case i.FourState != nil:
		m := i.FourState
		s.model = lossFourState
		s.parameters = [5]uint32{fraction(m.P13), fraction(m.P31), fraction(m.P32), fraction(m.P14), fraction(m.P23)}
	}
}

// fraction is a probability in netem's unit.
func fraction(p fault.Percent) uint32 { return uint32(p.Of(math.MaxUint32)) }

// heldBy reports whether the kernel's options are these. A kernel without
// 64-bit times rounds them down to a tick.
func (o options) heldBy(got options) bool {
	if rounded(o.delay, got.delay) {
		got.delay = o.delay
	}
	if rounded(o.jitter, got.jitter) {
		got.jitter = o.jitter
	}
	return o == got
}

func rounded(want, got time.Duration) bool { return want >= got && want-got < tick }
