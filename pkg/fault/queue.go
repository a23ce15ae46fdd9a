package fault

import "time"

// PacketMemory is what one waiting packet is taken to cost, in bytes of kernel
// memory. It can be up to 64 KiB where TCP hands over large segments, of which
// its window then has only a few on the way.
const PacketMemory = 2 << 10

// Queue is how many packets may wait before the link: half a second of packets
// of full size, as a home router has it, and at least 64.
func (r Rate) Queue() uint64 {
	const fullPacket, least = 1_500, 64
	halfSecond := r.BitsPerSecond / 8 * uint64(500*time.Millisecond) / uint64(time.Second)
	return max(halfSecond/fullPacket, least)
}

// PacketsPerSecond is how many packets of the least size, 64 bytes, the link
// lets through.
func (r Rate) PacketsPerSecond() uint64 { return r.BitsPerSecond / 8 / 64 }
