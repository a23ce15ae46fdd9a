//go:build linux && kernel

package nfqueue

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

func portOf(t *testing.T, fd int) int {
	t.Helper()
	addr, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return addr.(*unix.SockaddrInet4).Port
}

// numbered sends numbered datagrams, one every pause, and returns the numbers
// of those that arrive within a second of each other, as they come, and how
// long after the first was sent.
func numbered(t *testing.T, here, there pod, count, size int, pause time.Duration) (numbers []uint32, after []time.Duration) {
	t.Helper()
	receiver, sender := there.udp(t, there.v4, 0, time.Second), here.udp(t, here.v4, 0, time.Second)
	port := portOf(t, receiver)
	start := time.Now()
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		datagram := make([]byte, size)
		for i := range count {
			for time.Since(start) < time.Duration(i)*pause {
				// Shorter than what any clock of the runtime can wait.
			}
			binary.BigEndian.PutUint32(datagram, uint32(i))
			if err := unix.Sendto(sender, datagram, 0, sockaddr(there.v4, port)); err != nil {
				failed <- err
				return
			}
		}
	}()
	buffer := make([]byte, size)
	for len(numbers) < count {
		if _, err := receive(receiver, buffer); err != nil {
			break
		}
		numbers = append(numbers, binary.BigEndian.Uint32(buffer))
		after = append(after, time.Since(start))
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	return numbers, after
}

func TestKernelLoss(t *testing.T) {
	const count = 10_000
	here, there := newPods(t)
	a := here.start(t, fault.Exemption{})
	for name, c := range map[string]struct {
		loss  api.Loss
		share float64
	}{
		"random": {api.Loss{Percent: 10}, 0.1},
		// p/(p+r) of the time in the bad state; the interval is wider, since
		// losses come in bursts of 1/r.
		"Gilbert-Elliott": {api.Loss{GilbertElliott: &api.GilbertElliott{ToBad: 2, ToGood: 20, LossInBad: 100}}, 2.0 / 22},
	} {
		seed := uint64(1)
		f := api.Fault{Name: "loss", Protocol: "udp", Loss: &c.loss, Seed: &seed}
		a.apply(f)
		numbers, _ := numbered(t, here, there, count, 64, 10*time.Microsecond)
		lost := count - len(numbers)
		deviation := math.Sqrt(count * c.share * (1 - c.share))
		if c.loss.GilbertElliott != nil {
			deviation *= 3
		}
		if math.Abs(float64(lost)-count*c.share) > 3.29*deviation {
			t.Errorf("%s: %d of %d lost, want %.0f±%.0f", name, lost, count, count*c.share, 3.29*deviation)
		}
		if got := a.counters(f); got.Dropped != uint64(lost) || got.Packets != count || got.Overlimits != 0 {
			t.Errorf("%s: counters %+v, %d were lost", name, got, lost)
		}
		if !slices.IsSorted(numbers) {
			t.Errorf("%s: those that were not lost overtook", name)
		}
		a.apply()
	}
}

func TestKernelJitter(t *testing.T) {
	const count = 400
	here, there := newPods(t)
	there.echo(t, there.v4)
	a := here.start(t, fault.Exemption{})
	f := latency(10 * time.Millisecond)
	f.Jitter = "5ms"
	a.apply(f)
	times := here.roundTrips(t, here.v4, there.v4, count)
	least, median, most := times[0], quantile(times, 0.5), times[len(times)-1]
	t.Logf("from %v to %v, median %v, quartiles %v and %v", least, most, median, quantile(times, 0.25), quantile(times, 0.75))
	if least < 5*time.Millisecond || least > 6*time.Millisecond {
		t.Errorf("the least of %d uniform delays of 5ms to 15ms is %v", count, least)
	}
	if span := quantile(times, 0.75) - quantile(times, 0.25); span < 4*time.Millisecond || span > 6500*time.Microsecond {
		t.Errorf("the middle half spans %v, want 5ms", span)
	}
	if math.Abs(float64(median-10*time.Millisecond)) > float64(1500*time.Microsecond) {
		t.Errorf("the median is %v, want 10ms", median)
	}
	// Packets that come close overtake, and none is lost or doubled.
	numbers, _ := numbered(t, here, there, 2000, 64, 100*time.Microsecond)
	if slices.IsSorted(numbers) {
		t.Error("no packet overtook another")
	}
	slices.Sort(numbers)
	if len(numbers) != 2000 || len(slices.Compact(numbers)) != 2000 {
		t.Errorf("%d of 2000 packets came", len(numbers))
	}
}

func TestKernelReorder(t *testing.T) {
	const count = 1000
	here, there := newPods(t)
	a := here.start(t, fault.Exemption{})
	f := latency(20 * time.Millisecond)
	f.Reorder = &api.Reorder{Percent: 100, Gap: 5}
	f.Protocol = "udp" // multicast memberships would be counted too
	a.apply(f)
	numbers, _ := numbered(t, here, there, count, 64, 100*time.Microsecond)
	if len(numbers) != count {
		t.Fatalf("%d of %d packets came", len(numbers), count)
	}
	// With 20 ms of delay and a packet every 100 us, the one that goes at once
	// is 200 places ahead.
	if numbers[0] != 4 || numbers[1] != 9 {
		t.Errorf("the first to come are %v, want every fifth", numbers[:5])
	}
	fifth, others := []uint32{}, []uint32{}
	for _, n := range numbers {
		if n%5 == 4 {
			fifth = append(fifth, n)
		} else {
			others = append(others, n)
		}
	}
	for what, all := range map[string][]uint32{"that go at once": fifth, "that are late": others} {
		for i := 1; i < len(all); i++ {
			if all[i] < all[i-1] {
				t.Fatalf("of those %s, %d came before %v", what, all[i-1], all[i:min(i+8, len(all))])
			}
		}
	}
}

func TestKernelRate(t *testing.T) {
	const (
		count = 300
		size  = 1000
		bits  = 8 * (size + 8 + 20 + 14)
	)
	here, there := newPods(t)
	a := here.start(t, fault.Exemption{})
	f := api.Fault{Name: "link", Protocol: "udp", Rate: &api.Rate{PerSecond: "5mbit"}}
	a.apply(f)
	numbers, after := numbered(t, here, there, 200, size, 10*time.Microsecond)
	if len(numbers) != 200 || !slices.IsSorted(numbers) {
		t.Fatalf("%d of 200 packets came, in order: %t", len(numbers), slices.IsSorted(numbers))
	}
	rate := float64(199*bits) / (after[199] - after[0]).Seconds()
	if math.Abs(rate-5e6) > 0.5e6 {
		t.Errorf("datagrams pass at %.2f Mbit/s, want 5", rate/1e6)
	}
	// 0.5 s of packets of 1500 bytes fit the queue; what comes beyond is dropped.
	numbers, _ = numbered(t, here, there, count, size, 0)
	if c := a.counters(f); len(numbers) < 208 || len(numbers) > 240 || c.Dropped != uint64(count-len(numbers)) {
		t.Errorf("%d of a burst of %d passed, counters %+v", len(numbers), count, c)
	}
	// TCP, whose packets are large segments.
	f = api.Fault{Name: "link", Rate: &api.Rate{PerSecond: "50mbit"}}
	a.apply(f)
	rate = here.stream(t, there.listen(t, there.v4, 0), 4*time.Second)
	if rate < 40e6 || rate > 55e6 {
		t.Errorf("one TCP stream carries %.1f Mbit/s over a link of 50", rate/1e6)
	}
	t.Logf("TCP: %.1f Mbit/s", rate/1e6)
}
