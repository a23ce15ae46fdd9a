package netem

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"
)

// Attributes that follow struct tc_netem_qopt (include/uapi/linux/pkt_sched.h).
const (
	attrCorrelation = 1
	attrReorder     = 3
	attrCorrupt     = 4
	attrLoss        = 5
	attrRate        = 6
	attrECN         = 7
	attrLatency64   = 10
	attrJitter64    = 11
	attrSlot        = 12
)

// Sizes in bytes of the kernel's structures.
const (
	sizeQopt        = 24 // struct tc_netem_qopt
	sizeCorrelation = 12 // struct tc_netem_corr
	sizeReorder     = 8  // struct tc_netem_reorder
	sizeCorrupt     = 8  // struct tc_netem_corrupt
	sizeRate        = 16 // struct tc_netem_rate
	sizeSlot        = 40 // struct tc_netem_slot
)

// tick is the unit of the 32-bit times, PSCHED_TICKS2NS(1) in
// include/net/pkt_sched.h. They end at 275 s.
const tick = 64 * time.Nanosecond

// options is what this package sets and reads of a netem qdisc. Everything
// else that netem can do is written as an explicit zero: on a change the
// kernel keeps the correlations, reordering, corruption and rate it is not
// told about, so what an earlier owner set would stick.
type options struct {
	// delay is exact to the nanosecond where the kernel knows
	// TCA_NETEM_LATENCY64 (4.15), else to one tick.
	delay time.Duration
	// limit is how many packets the queue holds before it drops.
	limit uint32
}

// encode returns the payload of TCA_OPTIONS. Equivalent to `tc ... netem limit
// LIMIT delay DELAY` on a new qdisc.
func (o options) encode() []byte {
	native := nl.NativeEndian()
	qopt := make([]byte, sizeQopt)
	native.PutUint32(qopt[0:], uint32(min(o.delay/tick, math.MaxUint32)))
	native.PutUint32(qopt[4:], o.limit)

	latency := make([]byte, 8)
	native.PutUint64(latency, uint64(o.delay))
	payload := qopt
	for _, attr := range []*nl.RtAttr{
		nl.NewRtAttr(attrCorrelation, make([]byte, sizeCorrelation)),
		nl.NewRtAttr(attrReorder, make([]byte, sizeReorder)),
		nl.NewRtAttr(attrCorrupt, make([]byte, sizeCorrupt)),
		nl.NewRtAttr(attrRate, make([]byte, sizeRate)),
		nl.NewRtAttr(attrECN, make([]byte, 4)),
		nl.NewRtAttr(attrLatency64, latency),
		nl.NewRtAttr(attrJitter64, make([]byte, 8)),
		nl.NewRtAttr(attrSlot, make([]byte, sizeSlot)),
	} {
		payload = append(payload, attr.Serialize()...)
	}
	return payload
}

// decode reads what the kernel reports of a netem qdisc. It fails when the
// qdisc does anything beside delaying, because then it is not what this
// package made.
func decode(payload []byte) (options, error) {
	if len(payload) < sizeQopt {
		return options{}, fmt.Errorf("decode netem options: %d bytes, want at least %d", len(payload), sizeQopt)
	}
	native := nl.NativeEndian()
	word := func(i int) uint32 { return native.Uint32(payload[4*i:]) }
	o := options{delay: time.Duration(word(0)) * tick, limit: word(1)}
	if loss, gap, duplicate, jitter := word(2), word(3), word(4), word(5); loss|gap|duplicate|jitter != 0 {
		return options{}, errors.New("decode netem options: the qdisc does more than delay (loss, gap, duplicate or jitter is set)")
	}
	attrs, err := nl.ParseRouteAttr(payload[sizeQopt:])
	if err != nil {
		return options{}, fmt.Errorf("decode netem options: %w", err)
	}
	for _, attr := range attrs {
		switch attr.Attr.Type {
		case attrLatency64:
			if len(attr.Value) < 8 {
				return options{}, errors.New("decode netem options: short TCA_NETEM_LATENCY64")
			}
			o.delay = time.Duration(native.Uint64(attr.Value))
		case attrReorder, attrCorrupt, attrRate:
			// The first word is the probability, or the rate.
			if len(attr.Value) >= 4 && native.Uint32(attr.Value) != 0 {
				return options{}, errors.New("decode netem options: the qdisc does more than delay (reorder, corrupt or rate is set)")
			}
		case attrLoss, attrSlot:
			if slices.ContainsFunc(attr.Value, func(b byte) bool { return b != 0 }) {
				return options{}, errors.New("decode netem options: the qdisc does more than delay (a loss model or slots are set)")
			}
		}
	}
	return o, nil
}

// The queue must hold every packet that is in flight during the delay, or
// latency turns into loss: netem's default of 1000 packets overflows at 10,000
// packets per second and 100 ms. The limit is therefore the delay times a rate
// that one pod hardly reaches, bounded by what the waiting packets may cost in
// kernel memory: about 2 KiB each, and up to 64 KiB where TCP hands over large
// segments, of which its window then has only a few on the way.
const (
	packetsPerSecond = 500_000
	minLimit         = 1_000
	maxLimit         = 131_072 // 256 MiB of packets of MTU size
)

// limitFor returns the queue limit, in packets, for a delay.
func limitFor(delay time.Duration) uint32 {
	packets := uint64(delay) * packetsPerSecond / uint64(time.Second)
	return uint32(min(max(packets, minLimit), maxLimit))
}
