package netem

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/vishvananda/netlink/nl"

	"github.com/tidelay/tidelay/pkg/agent/distribution"
)

// Attributes that follow struct tc_netem_qopt: TCA_NETEM_* in
// include/uapi/linux/pkt_sched.h.
const (
	attrCorrelation = 1
	attrDelayDist   = 2
	attrReorder     = 3
	attrCorrupt     = 4
	attrLoss        = 5
	attrRate        = 6
	attrECN         = 7
	attrRate64      = 8
	attrLatency64   = 10
	attrJitter64    = 11
	attrSlot        = 12
	attrSeed        = 14
)

// Sizes in bytes of the kernel's structures.
const (
	sizeQopt = 24 // struct tc_netem_qopt
	sizeSlot = 40 // struct tc_netem_slot
)

// tick is the unit of the 32-bit times, PSCHED_TICKS2NS(1) in
// include/net/pkt_sched.h. They end at 275 s.
const tick = 64 * time.Nanosecond

// encode returns the payload of TCA_OPTIONS.
//
// On a change the kernel keeps the correlations, reordering, corruption, rate,
// ECN and slots that it is not told about, so each is written, and zero where
// it is not asked for. It keeps a table of delays too, and has no way to take
// one away; therefore every jitter comes with its table, the uniform one as
// well. A loss model needs no zero: without the attribute the loss is random.
func (s setting) encode() []byte {
	rate, rate64 := uint32(s.rate), s.rate > math.MaxUint32
	if rate64 {
		rate = math.MaxUint32
	}
	payload := words(ticks(s.delay), s.limit, s.loss, s.gap, s.duplicate, ticks(s.jitter))
	add := func(attr int, value []byte) { payload = append(payload, nl.NewRtAttr(attr, value).Serialize()...) }
	add(attrCorrelation, words(s.delayCorrelation, s.lossCorrelation, s.duplicateCorrelation))
	add(attrReorder, words(s.reorder, s.reorderCorrelation))
	add(attrCorrupt, words(s.corrupt, s.corruptCorrelation))
	add(attrRate, words(rate, uint32(s.packetOverhead), s.cellSize, uint32(s.cellOverhead)))
	if rate64 {
		add(attrRate64, long(s.rate))
	}
	add(attrECN, words(0))
	add(attrLatency64, long(uint64(s.delay)))
	add(attrJitter64, long(uint64(s.jitter)))
	add(attrSlot, make([]byte, sizeSlot))
	if s.seeded {
		add(attrSeed, long(s.seed))
	}
	switch s.model {
	case lossFourState: // struct tc_netem_gimodel
		add(attrLoss, nl.NewRtAttr(int(s.model), words(s.parameters[:]...)).Serialize())
	case lossGilbertElliott: // struct tc_netem_gemodel
		add(attrLoss, nl.NewRtAttr(int(s.model), words(s.parameters[:4]...)).Serialize())
	case lossRandom:
	}
	if s.jitter > 0 && s.distribution != "" {
		var table []byte
		for _, sample := range distribution.Table(s.distribution) {
			table = binary.NativeEndian.AppendUint16(table, uint16(sample))
		}
		add(attrDelayDist, table)
	}
	return payload
}

// ticks is a time in the old unit, which stops at its end.
func ticks(d time.Duration) uint32 { return uint32(min(d/tick, math.MaxUint32)) }

func words(values ...uint32) []byte {
	var b []byte
	for _, value := range values {
		b = binary.NativeEndian.AppendUint32(b, value)
	}
	return b
}

func long(value uint64) []byte { return binary.NativeEndian.AppendUint64(nil, value) }
