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

// tick is the unit of the kernel's 32-bit times, PSCHED_TICKS2NS(1) in
// include/net/pkt_sched.h. Such a time is at most 275 s.
const tick = 64 * time.Nanosecond

// encode returns the payload of TCA_OPTIONS.
//
// When a netem is changed, the kernel keeps the correlations, reordering,
// corruption, rate, ECN and slots that the request does not mention
// (netem_change in net/sched/sch_netem.c). So each of them is always written, as
// zero if it is not asked for. The kernel also keeps a table of delays, and no
// request removes one. So every jitter is written with its table, even the
// uniform one. Only the loss model needs no zero: without that attribute the
// loss is random.
func (s setting) encode() []byte {
	rate, rate64 := uint32(s.rate), s.rate > math.MaxUint32
	if rate64 {
		rate = math.MaxUint32
	}
	payload := bytes32(ticks(s.delay), s.limit, s.loss, s.gap, s.duplicate, ticks(s.jitter))
	add := func(attr int, value []byte) { payload = append(payload, nl.NewRtAttr(attr, value).Serialize()...) }
	add(attrCorrelation, bytes32(s.delayCorrelation, s.lossCorrelation, s.duplicateCorrelation))
	add(attrReorder, bytes32(s.reorder, s.reorderCorrelation))
	add(attrCorrupt, bytes32(s.corrupt, s.corruptCorrelation))
	add(attrRate, bytes32(rate, uint32(s.packetOverhead), s.cellSize, uint32(s.cellOverhead)))
	if rate64 {
		add(attrRate64, bytes64(s.rate))
	}
	add(attrECN, bytes32(0))
	add(attrLatency64, bytes64(uint64(s.delay)))
	add(attrJitter64, bytes64(uint64(s.jitter)))
	add(attrSlot, make([]byte, sizeSlot))
	if s.seeded {
		add(attrSeed, bytes64(s.seed))
	}
	switch s.model {
	case lossFourState: // struct tc_netem_gimodel
		add(attrLoss, nl.NewRtAttr(int(s.model), bytes32(s.parameters[:]...)).Serialize())
	case lossGilbertElliott: // struct tc_netem_gemodel
		add(attrLoss, nl.NewRtAttr(int(s.model), bytes32(s.parameters[:4]...)).Serialize())
	case lossRandom:
	}
	if s.hasTable() {
		var table []byte
		for _, sample := range distribution.Table(s.distribution) {
			table = binary.NativeEndian.AppendUint16(table, uint16(sample))
		}
		add(attrDelayDist, table)
	}
	return payload
}

// ticks returns a time in the 32-bit unit, or the longest there is.
func ticks(d time.Duration) uint32 { return uint32(min(d/tick, math.MaxUint32)) }

// bytes32 returns numbers in the host's byte order, as netlink has them.
func bytes32(values ...uint32) []byte {
	var b []byte
	for _, value := range values {
		b = binary.NativeEndian.AppendUint32(b, value)
	}
	return b
}

func bytes64(value uint64) []byte { return binary.NativeEndian.AppendUint64(nil, value) }
