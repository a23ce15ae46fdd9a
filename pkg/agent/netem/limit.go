package netem

import (
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// packetsPerSecond is more than one pod usually sends or receives. minLimit is
// the kernel's default limit, in packets.
const (
	packetsPerSecond = 500_000
	minLimit         = 1_000
)

// limitFor returns the queue limit of a fault's netem, in packets. queueMemory
// is in bytes.
//
// The queue must hold every packet that is on its way during the delay, or
// latency turns into loss: the kernel's default of 1000 packets overflows at
// 10,000 packets per second and 100 ms. Therefore the limit is
//
//	packets on their way + queue of the rate, at most queueMemory / fault.PacketMemory
//
// Packets on their way are the longest delay that a packet can have, times
// packetsPerSecond, and no more full frames than the rate lets through. The queue
// of a rate is also counted in full frames, because netem counts packets and not
// bytes. So a link that carries small packets has a shorter queue. Without a rate
// the limit is at least minLimit.
func limitFor(i fault.Impairment, queueMemory uint64) uint32 {
	// A delay is at most ten minutes plus a jitter of seconds, which is far from
	// an overflow.
	packets := uint64(i.LongestDelay()/time.Microsecond) * packetsPerSecond / uint64(time.Second/time.Microsecond)
	if r := i.Rate; r != nil {
		packets = min(packets, r.FullFrames(i.LongestDelay())) + r.FullFrames(r.QueueTime())
	} else {
		packets = max(packets, minLimit)
	}
	return uint32(max(min(packets, queueMemory/fault.PacketMemory), 1))
}
