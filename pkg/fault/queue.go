package fault

import "time"

// PacketMemory is an estimate of the memory that one packet in a queue needs, in
// bytes, from which queues' limits are computed. A large segment of TCP needs up
// to 64 KiB, but of those there are few at once, since TCP's window counts bytes.
const PacketMemory = 2 << 10

// Queue returns how many packets fit in the queue before the link: half a second
// of packets of 1,500 bytes, as in a home router, and at least 64.
func (r Rate) Queue() uint64 {
	const fullPacket, least = 1_500, 64
	halfSecond := r.BitsPerSecond / 8 * uint64(500*time.Millisecond) / uint64(time.Second)
	return max(halfSecond/fullPacket, least)
}

// PacketsPerSecond returns how many packets of the least size, 64 bytes, pass the
// link in a second.
func (r Rate) PacketsPerSecond() uint64 { return r.BitsPerSecond / 8 / 64 }
