package fault

import "time"

// PacketMemory is an estimate of the memory that one packet in a queue needs, in
// bytes, from which queues' limits are computed. A large segment of TCP needs up
// to 64 KiB, but of those there are few at once, since TCP's window counts bytes.
const PacketMemory = 2 << 10

// EthernetHeader is the length of an Ethernet header in bytes, and FullFrame that
// of a packet of 1,500 bytes with it.
const (
	EthernetHeader = 14
	FullFrame      = 1_500 + EthernetHeader
)

// TransmissionTime returns how long the link takes to send a frame of a size in
// bytes, Ethernet header included (packet_time_ns in net/sched/sch_netem.c). It
// is 0 if a negative overhead leaves nothing of the frame.
func (r Rate) TransmissionTime(frame uint32) time.Duration {
	bytes := max(0, int64(frame)+int64(r.PacketOverhead))
	if r.CellSize > 0 {
		cells := (bytes + int64(r.CellSize) - 1) / int64(r.CellSize)
		bytes = max(0, cells*(int64(r.CellSize)+int64(r.CellOverhead)))
	}
	return time.Duration(uint64(bytes) * 8 * uint64(time.Second) / r.BitsPerSecond)
}

// QueueTime returns how long a packet waits before the link when the queue there
// is full: half a second, as in a home router. A link so slow that this is less
// than ten full frames has a queue of those, because TCP starts with as many (RFC
// 6928).
func (r Rate) QueueTime() time.Duration {
	const usual, firstWindow = 500 * time.Millisecond, 10
	return max(usual, firstWindow*r.TransmissionTime(FullFrame))
}

// FullFrames returns how many full frames the link sends in a time.
func (r Rate) FullFrames(in time.Duration) uint64 {
	return uint64(in / max(r.TransmissionTime(FullFrame), 1))
}
