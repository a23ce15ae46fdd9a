package netem

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

const ms = time.Millisecond

// everything is a fault of all packets of some directions.
func everything(name string, d fault.Direction, delay time.Duration) fault.Fault {
	return fault.Fault{Name: name, Match: fault.Match{Direction: d}, Impairment: fault.Impairment{Delay: delay}}
}

// matched is a fault with a match in one direction.
func matched(name string, m fault.Match, delay time.Duration) fault.Fault {
	return fault.Fault{Name: name, Match: m, Impairment: fault.Impairment{Delay: delay}}
}

// several returns n delays of 1 ms for different peers, named a00 and so on.
func several(n int) []fault.Fault {
	var all []fault.Fault
	for i := range n {
		all = append(all, matched(fmt.Sprintf("a%02d", i), fault.Match{Direction: fault.Egress, Peers: prefixes(fmt.Sprintf("10.%d.0.0/16", i))}, ms))
	}
	return all
}

func prefixes(all ...string) []netip.Prefix {
	var found []netip.Prefix
	for _, one := range all {
		found = append(found, netip.MustParsePrefix(one))
	}
	return found
}

func portRange(first, last uint16) []api.PortRange {
	return []api.PortRange{{First: first, Last: last}}
}
