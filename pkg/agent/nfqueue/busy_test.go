//go:build linux

package nfqueue

import (
	"encoding/binary"
	"testing"

	"github.com/tidelay/tidelay/pkg/fault"
)

// packetsOnly always has one more batch, and forgets.
type packetsOnly struct {
	fakeKernel
	next uint32
}

func (k *packetsOnly) send(m message) error {
	if binary.NativeEndian.Uint16(m[4:]) == typeConfig {
		return k.fakeKernel.send(m)
	}
	return nil
}

func (k *packetsOnly) receive(take func(packet)) (batch, error) {
	if len(k.unread) > 0 {
		return k.fakeKernel.receive(take)
	}
	for range batchSize {
		k.next++
		take(packet{queue: 1, id: k.next, size: 1000})
	}
	return batch{messages: batchSize}, nil
}

func busy(t testing.TB, i fault.Impairment) *scheduler {
	t.Helper()
	s := newScheduler(&packetsOnly{fakeKernel: *newFakeKernel()})
	if err := s.shape(1, i, 1<<20); err != nil {
		t.Fatal(err)
	}
	return s
}

// busyKinds is one impairment for each way that packets take through a lane.
func busyKinds() map[string]fault.Impairment {
	return map[string]fault.Impairment{
		"constant": {Delay: ms},
		"jitter":   {Delay: ms, Jitter: ms, Distribution: fault.Normal},
		"loss":     {Loss: &fault.Chance{Percent: fault.Hundred / 2}},
		"rate":     {Rate: &fault.Rate{BitsPerSecond: 1_000_000_000}},
	}
}

func BenchmarkTurn(b *testing.B) {
	for name, i := range busyKinds() {
		b.Run(name, func(b *testing.B) {
			s := busy(b, i)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.turn(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSize, "ns/packet")
		})
	}
}

func TestTurnDoesNotAllocate(t *testing.T) {
	for name, i := range busyKinds() {
		s := busy(t, i)
		// Until the lane has grown to its limit of packets.
		for range 100 {
			turn(t, s)
		}
		if allocs := testing.AllocsPerRun(1000, func() { turn(t, s) }); allocs >= 1 {
			t.Errorf("%s: %v allocations for a batch", name, allocs)
		}
	}
}
