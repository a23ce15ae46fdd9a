package netem

import (
	"math/rand/v2"
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// times counts how often patterns match a port.
func times(patterns []portPattern, port uint16) int {
	n := 0
	for _, p := range patterns {
		if port&p.mask == p.value {
			n++
		}
	}
	return n
}

// fewest is the least number of aligned blocks of a power of two, found by
// trying every split.
func fewest(first, end int, memo map[[2]int]int) int {
	if first >= end {
		return 0
	}
	if n, known := memo[[2]int{first, end}]; known {
		return n
	}
	least := end - first
	for size := 1; size <= end-first; size *= 2 {
		if first%size == 0 {
			least = min(least, 1+fewest(first+size, end, memo))
		}
	}
	memo[[2]int{first, end}] = least
	return least
}

func TestCoverIsExactAndMinimal(t *testing.T) {
	const most = 130
	for first := 1; first <= most; first++ {
		memo := make(map[[2]int]int)
		for last := first; last <= most; last++ {
			patterns := coverPorts(api.PortRange{First: uint16(first), Last: uint16(last)})
			for port := range most + 140 {
				want := 0
				if first <= port && port <= last {
					want = 1
				}
				if got := times(patterns, uint16(port)); got != want {
					t.Fatalf("%d-%d: port %d is matched %d times, want %d", first, last, port, got, want)
				}
			}
			if want := fewest(first, last+1, memo); len(patterns) != want {
				t.Fatalf("%d-%d: %d patterns, want %d", first, last, len(patterns), want)
			}
		}
	}
}

func TestCoverOfLargeRanges(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	ranges := []api.PortRange{{First: 1, Last: 65535}, {First: 65535, Last: 65535}, {First: 32768, Last: 65535}, {First: 1, Last: 65534}, {First: 1024, Last: 1024}}
	for range 300 {
		a, b := uint16(1+random.IntN(65535)), uint16(1+random.IntN(65535))
		ranges = append(ranges, api.PortRange{First: min(a, b), Last: max(a, b)})
	}
	for _, r := range ranges {
		patterns := coverPorts(r)
		if len(patterns) > 30 {
			t.Errorf("%s: %d patterns", r, len(patterns))
		}
		for _, port := range []uint16{0, r.First - 1, r.First, r.First/2 + r.Last/2, r.Last, r.Last + 1, uint16(random.Uint32()), uint16(random.Uint32())} {
			want := 0
			if r.First <= port && port <= r.Last {
				want = 1
			}
			if got := times(patterns, port); got != want {
				t.Fatalf("%s: port %d is matched %d times, want %d", r, port, got, want)
			}
		}
	}
	if got := coverPorts(api.PortRange{}); len(got) != 1 || got[0] != (portPattern{}) {
		t.Errorf("any port: %v", got)
	}
}
