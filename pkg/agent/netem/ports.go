package netem

import (
	"math/bits"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// portPattern matches the TCP and UDP ports whose bits under mask are value.
type portPattern struct{ value, mask uint16 }

// coverPorts returns the fewest patterns that match each port of a range once
// and no other port, at most 30. Each matches a part whose size is a power of two
// and which starts at a multiple of its size. The zero range means any port.
func coverPorts(r api.PortRange) []portPattern {
	if r == (api.PortRange{}) {
		return []portPattern{{}}
	}
	var patterns []portPattern
	const all = 1 << 16
	for first, end := int(r.First), int(r.Last)+1; first < end; {
		// The largest part that can start here and is not larger than the rest.
		size := 1 << min(bits.TrailingZeros(uint(first|all)), bits.Len(uint(end-first))-1)
		patterns = append(patterns, portPattern{value: uint16(first), mask: uint16(all - size)})
		first += size
	}
	return patterns
}
