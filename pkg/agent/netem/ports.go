package netem

import (
	"math/bits"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// pattern matches the ports whose bits under mask are value.
type pattern struct{ value, mask uint16 }

// cover returns patterns that match the ports of a range, each exactly once and
// no others: its aligned blocks of a power of two, the fewest there are, which
// is at most 30. The zero range is any port.
func cover(r api.PortRange) []pattern {
	if r == (api.PortRange{}) {
		return []pattern{{}}
	}
	var patterns []pattern
	const all = 1 << 16
	for first, end := int(r.First), int(r.Last)+1; first < end; {
		// The largest block that starts here, and then no larger than the rest.
		size := 1 << min(bits.TrailingZeros(uint(first|all)), bits.Len(uint(end-first))-1)
		patterns = append(patterns, pattern{value: uint16(first), mask: uint16(all - size)})
		first += size
	}
	return patterns
}
