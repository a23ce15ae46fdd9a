package fault

import (
	"testing"
	"time"
)

func TestQueueTime(t *testing.T) {
	for bits, want := range map[uint64]time.Duration{
		100_000_000_000: 500 * time.Millisecond,
		500_000:         500 * time.Millisecond,
		242_240:         500 * time.Millisecond, // ten full frames
		121_120:         time.Second,
		MinRate:         15140 * time.Millisecond,
	} {
		r := Rate{BitsPerSecond: bits}
		if got := r.QueueTime(); got != want {
			t.Errorf("%d bit/s: %s, want %s", bits, got, want)
		}
		if got := r.FullFrames(r.QueueTime()); got < 10 {
			t.Errorf("%d bit/s: %d frames", bits, got)
		}
	}
	if got := (Rate{BitsPerSecond: 8_000, PacketOverhead: -10_000}).FullFrames(time.Second); got != 1_000_000_000 {
		t.Errorf("without any bytes: %d frames", got)
	}
}
