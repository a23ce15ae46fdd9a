package netem

import (
	"math"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// maxJitter is the longest jitter of netem: its sigma is a signed 32-bit number
// of nanoseconds (tabledist in net/sched/sch_netem.c). Newer kernels cut a
// longer one to this, older ones overflow.
const maxJitter = math.MaxInt32 * time.Nanosecond

// lossModel is one of netem's ways to choose the packets that it drops
// (NETEM_LOSS_* in include/uapi/linux/pkt_sched.h).
type lossModel uint16

const (
	lossRandom lossModel = iota
	lossFourState
	lossGilbertElliott
)

// options is the part of a netem's setting that the kernel reports. It is
// comparable. Probabilities and correlations are fractions of math.MaxUint32.
type options struct {
	// delay and jitter are exact to the nanosecond where the kernel knows
	// 64-bit times (4.15), else to one tick.
	delay, jitter time.Duration
	// limit is how many packets the queue holds before it drops.
	limit uint32

	delayCorrelation, lossCorrelation, duplicateCorrelation uint32

	loss, duplicate uint32
	// parameters of the model are in the kernel's order: p13 p31 p32 p14 p23 for
	// four states, p r h k1 for Gilbert-Elliott.
	model      lossModel
	parameters [5]uint32

	corrupt, corruptCorrelation uint32
	// Only every gap-th packet can be reordered; 0 without reordering.
	gap                         uint32
	reorder, reorderCorrelation uint32

	// rate is in bytes per second; 0 for none. The overheads and the cell size
	// are in bytes.
	rate           uint64
	packetOverhead int32
	cellSize       uint32
	cellOverhead   int32

	// more is set for a netem that was found to do something that this package
	// never asks for: ECN or slots.
	more bool
}

// setting is everything that a netem is given.
type setting struct {
	options
	// distribution of the jitter, which the kernel does not report: "" if it is
	// not known or if there is no jitter.
	distribution fault.Distribution
	// seed counts only if seeded.
	seed   uint64
	seeded bool
}

// hasTable reports whether the netem gets a table of delays.
func (s setting) hasTable() bool { return s.jitter > 0 && s.distribution != "" }

// settingFor returns the setting that has the effect of an impairment.
// queueMemory is how much memory waiting packets may take, in bytes.
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

// setLoss sets the loss of an impairment, which has at most one kind of it.
func (s *setting) setLoss(i fault.Impairment) {
	switch {
	case i.Partition:
		s.loss = math.MaxUint32
	case i.Loss != nil:
		s.loss, s.lossCorrelation = fraction(i.Loss.Percent), fraction(i.Loss.Correlation)
	case i.GilbertElliott != nil:
		m := i.GilbertElliott
		s.model = lossGilbertElliott
		// In the kernel, h is the chance that a packet passes in the bad state, and
		// k1 the chance that one is lost in the good state.
		s.parameters = [5]uint32{fraction(m.ToBad), fraction(m.ToGood), fraction(fault.Hundred - m.LossInBad), fraction(m.LossInGood)}
	case i.FourState != nil:
		m := i.FourState
		s.model = lossFourState
		s.parameters = [5]uint32{fraction(m.P13), fraction(m.P31), fraction(m.P32), fraction(m.P14), fraction(m.P23)}
	}
}

// fraction returns a probability in netem's unit.
func fraction(p fault.Percent) uint32 { return uint32(p.Of(math.MaxUint32)) }

// agreesWith reports whether options that were found are these. A kernel without
// 64-bit times rounds them down to a tick, which counts as the same.
func (o options) agreesWith(found options) bool {
	if roundsTo(o.delay, found.delay) {
		found.delay = o.delay
	}
	if roundsTo(o.jitter, found.jitter) {
		found.jitter = o.jitter
	}
	return o == found
}

func roundsTo(exact, found time.Duration) bool { return exact >= found && exact-found < tick }
