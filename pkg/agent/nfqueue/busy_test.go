//go:build linux

package nfqueue

import (
	"encoding/binary"
	"testing"

	"github.com/tidelay/tidelay/pkg/fault"
)

// busyKernel always has one more batch of packets and ignores verdicts.
type busyKernel struct {
	fakeKernel
	lastID  uint32
	packets [batchSize]packet
}

func (k *busyKernel) send(m message) error {
	if binary.NativeEndian.Uint16(m[4:]) == typeConfig {
		return k.fakeKernel.send(m)
	}
	return nil
}

func (k *busyKernel) receive() (batch, error) {
	if len(k.unread) > 0 {
		return k.fakeKernel.receive()
	}
	for i := range k.packets {
		k.lastID++
		k.packets[i] = packet{queue: 1, id: k.lastID, size: 1000}
	}
	return batch{messages: batchSize, packets: k.packets[:]}, nil
}

func newBusyScheduler(t testing.TB, i fault.Impairment) *scheduler {
	t.Helper()
	s := newScheduler(&busyKernel{fakeKernel: *newFakeKernel()}, func() {})
	if err := s.configure(1, i, 1<<20); err != nil {
		t.Fatal(err)
	}
	return s
}

// busyKinds has one impairment for each code path of a packet.
func busyKinds() map[string]fault.Impairment {
	return map[string]fault.Impairment{
		"constant": {Delay: ms},
		"jitter":   {Delay: ms, Jitter: ms, Distribution: fault.Normal},
		"loss":     {Loss: &fault.Chance{Percent: fault.Hundred / 2}},
		"rate":     {Rate: &fault.Rate{BitsPerSecond: 1_000_000_000}},
	}
}

func BenchmarkProcess(b *testing.B) {
	for name, i := range busyKinds() {
		b.Run(name, func(b *testing.B) {
			s := newBusyScheduler(b, i)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.process(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSize, "ns/packet")
		})
	}
}

func TestProcessDoesNotAllocate(t *testing.T) {
	for name, i := range busyKinds() {
		s := newBusyScheduler(t, i)
		// Fill the queue to its limit, so that its memory grows no more.
		for range 100 {
			process(t, s)
		}
		if allocs := testing.AllocsPerRun(1000, func() { process(t, s) }); allocs >= 1 {
			t.Errorf("%s: %v allocations for a batch", name, allocs)
		}
	}
}
