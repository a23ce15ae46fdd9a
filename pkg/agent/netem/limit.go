package netem

import (
	"time"

	"github.com/tidelay/tidelay/pkg/agent/fault"
)

// A netem's queue must hold every packet that is in flight during the delay,
// or latency turns into loss: the kernel's default of 1000 packets overflows
// at 10,000 packets per second and 100 ms. The limit is therefore
//
//	packets in flight + queue of the rate, at most queueMemory / 2 KiB
//
// where the packets in flight are the longest delay a packet can have times as
// many packets per second as one pod hardly reaches, or as the rate lets
// through when all are of the least size. A rate has a queue of half a second
// before it, in packets of full size, as a home router has; without a rate the
// limit is at least the kernel's default. A waiting packet costs about 2 KiB of
// kernel memory, and up to 64 KiB where TCP hands over large segments, of which
// its window then has only a few on the way.
const (
	packetsPerSecond = 500_000
	leastPacket      = 64    // bytes
	fullPacket       = 1_500 // bytes
	rateQueue        = 500 * time.Millisecond
	minRateQueue     = 64    // packets
	minLimit         = 1_000 // packets
	packetMemory     = 2 << 10
)

// limitFor returns the queue limit, in packets, of a fault's netem.
func limitFor(i fault.Impairment, queueMemory uint64) uint32 {
	perSecond := uint64(packetsPerSecond)
	queue := uint64(0)
	if i.Rate != nil {
		bytes := i.Rate.BitsPerSecond / 8
		perSecond = min(perSecond, bytes/leastPacket)
		queue = max(bytes*uint64(rateQueue)/uint64(time.Second)/fullPacket, minRateQueue)
	}
	// Ten minutes at most, and four of them with tails: far from an overflow.
	flight := uint64(longest(i)/time.Microsecond) * perSecond / uint64(time.Second/time.Microsecond)
	packets := flight + queue
	if i.Rate == nil {
		packets = max(packets, minLimit)
	}
	return uint32(max(min(packets, queueMemory/packetMemory), 1))
}

// longest is the longest delay that a packet of a fault can have. The tables
// of the distributions end at four standard deviations, the uniform one at the
// jitter itself.
func longest(i fault.Impairment) time.Duration {
	const tails = 4
	if i.Distribution == fault.Uniform || i.Distribution == "" {
		return i.Delay + i.Jitter
	}
	return i.Delay + tails*i.Jitter
}
