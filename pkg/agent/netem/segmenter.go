package netem

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/vishvananda/netlink/nl"

	"github.com/tidelay/tidelay/pkg/fault"
)

// A segmenter is a tbf above the netem of a rate. It cuts TCP segments that are
// larger than a packet (GSO, up to 64 KiB) into packets (tbf_segment in
// net/sched/sch_tbf.c). Without it, the queue of a rate would hold much more than
// half a second: netem counts packets, and such a segment counts as one.
//
//	7de1:2   class of the band
//	└─ tbf 7f02:  rate 4gbit, which no packet waits for; burst one packet
//	   └─ 7f02:1  netem 7e02:

const (
	// segmenterRate is in bytes a second: 4 gbit/s. It is above every rate that has
	// a segmenter, so that a packet which netem lets go never waits for it.
	segmenterRate = 500_000_000
	// maxSegmented is the highest rate, in bytes a second, that has a segmenter: 1
	// gbit/s. A faster link gets segments whole, because cutting them up would cost
	// more than it can carry. The windows of TCP then bound its queue.
	maxSegmented = 125_000_000
	// burstUnit is how exactly the kernel reports a burst, in bytes: it tells the
	// time that the rate takes for it, in ticks.
	burstUnit = uint32(tick * segmenterRate / time.Second)
	// vlanHeader is the length of an 802.1Q header in bytes.
	vlanHeader = 4
)

// burstOfVariable stands for the burst of a device whose MTU is not known, in a
// command that has a variable for it.
const burstOfVariable = 1

// segmenterHandle returns the handle of a band's segmenter.
func segmenterHandle(band uint8) uint32 { return (0x7f00 + uint32(band)) << 16 }

// burst returns the size of the largest frame that passes whole to a netem in
// this tree, in bytes; 0 if all do, because the netem has no segmenter. A frame
// that is larger and can't be cut would be dropped. Therefore the burst is never
// less than the interface's own MTU asks for.
func (t foundTree) burst(s setting) uint32 {
	switch {
	case s.rate == 0 || s.rate > maxSegmented:
		return 0
	case t.mtu == 0:
		return burstOfVariable
	default:
		frame := uint32(t.mtu) + fault.EthernetHeader + vlanHeader
		return (frame + burstUnit - 1) / burstUnit * burstUnit
	}
}

// setSegmenter adds the segmenter of a band, or changes it in place.
type setSegmenter struct {
	link  string
	band  uint8
	burst uint32 // in bytes
}

// String has a limit because tc wants one. It is for the packets of a queue that
// the netem replaces.
func (o setSegmenter) String() string {
	return fmt.Sprintf("tc qdisc replace dev %s %s handle %s tbf rate 4gbit burst %s limit %d",
		o.link, parentWord(class(o.band)), handleWord(segmenterHandle(o.band)), o.burstWord(), segmenterLimit)
}

func (o setSegmenter) burstWord() string {
	if o.burst == burstOfVariable {
		return fmt.Sprintf("$(((mtu + %d) / %d * %d))", fault.EthernetHeader+vlanHeader+burstUnit-1, burstUnit, burstUnit)
	}
	return strconv.FormatUint(uint64(o.burst), 10)
}

// segmenterLimit is in bytes.
const segmenterLimit = 1

// Attributes and structures of tbf (include/uapi/linux/pkt_sched.h).
const (
	attrTBFParams = 1 // TCA_TBF_PARMS: struct tc_tbf_qopt
	attrTBFBurst  = 6 // TCA_TBF_BURST: u32, bytes

	sizeRatespec      = 12 // struct tc_ratespec
	linklayerEthernet = 1  // TC_LINKLAYER_ETHERNET
)

// encode returns the payload of TCA_OPTIONS. In struct tc_tbf_qopt come the rate,
// no peak rate, the limit, the burst as a time in ticks, and no MTU.
func (o setSegmenter) encode() []byte {
	rate, peakRate := make([]byte, sizeRatespec), make([]byte, sizeRatespec)
	rate[1] = linklayerEthernet
	binary.NativeEndian.PutUint32(rate[8:], segmenterRate)
	params := slices.Concat(rate, peakRate, bytes32(segmenterLimit, o.burst/burstUnit, 0))
	payload := nl.NewRtAttr(attrTBFParams, params).Serialize()
	return append(payload, nl.NewRtAttr(attrTBFBurst, bytes32(o.burst)).Serialize()...)
}

// decodeSegmenter returns the burst of a tbf that was found. It is one that this
// package never asks for if the rate is another.
func decodeSegmenter(options []byte) (burst uint32, err error) {
	attrs, err := nl.ParseRouteAttr(options)
	if err != nil {
		return 0, fmt.Errorf("decode tbf: %w", err)
	}
	for _, attr := range attrs {
		w := uint32sOf(attr.Value)
		if attr.Attr.Type == attrTBFParams && len(w) >= 8 && w[2] == segmenterRate {
			return w[7] * burstUnit, nil
		}
	}
	return burstOfVariable, nil
}
