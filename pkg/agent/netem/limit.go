package netem

import (
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// A netem's queue must hold every packet that is in flight during the delay,
// or latency turns into loss: the kernel's default of 1000 packets overflows
// at 10,000 packets per second and 100 ms. The limit is therefore
//
//	packets in flight + queue of the rate, at most queueMemory / fault.PacketMemory
//
// where the packets in flight are the longest delay a packet can have times as
// many packets per second as one pod hardly reaches, or as the rate lets
// through. Without a rate the limit is at least the kernel's default.
const (
	packetsPerSecond = 500_000
	minLimit         = 1_000 // packets
)

// limitFor returns the queue limit, in packets, of a fault's netem.
func limitFor(i fault.Impairment, queueMemory uint64) uint32 {
	perSecond := uint64(packetsPerSecond)
	queue := uint64(0)
	if i.Rate != nil {
		perSecond = min(perSecond, i.Rate.PacketsPerSecond())
		queue = i.Rate.Queue()
	}
	// Ten minutes at most, and four of them with tails: far from an overflow.
	flight := uint64(longest(i)/time.Microsecond) * perSecond / uint64(time.Second/time.Microsecond)
	packets := flight + queue
	if i.Rate == nil {
		packets = max(packets, minLimit)
	}
	return uint32(max(min(packets, queueMemory/fault.PacketMemory), 1))
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
