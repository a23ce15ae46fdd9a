package verify

import (
	"slices"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// portsOf returns the TCP ports that a component listens on, the one to measure to first.
// TiDB Operator has them built in. TiDB logs a client that ends a connection to 4000 at once,
// so its status port comes first. A port that nobody listens on can be measured too, since a
// refusal is an answer, but a NetworkPolicy is more likely to be in its way.
func portsOf(c tidbcluster.Component) []uint16 {
	switch c {
	case tidbcluster.PD:
		return []uint16{2379, 2380}
	case tidbcluster.TSO, tidbcluster.Scheduling:
		return []uint16{2379}
	case tidbcluster.TiKV:
		return []uint16{20160, 20180}
	case tidbcluster.TiDB:
		return []uint16{10080, 4000}
	case tidbcluster.TiFlash:
		return []uint16{3930, 20170, 20292}
	case tidbcluster.TiCDC:
		return []uint16{8301}
	case tidbcluster.TiProxy:
		return []uint16{6000, 3080}
	case tidbcluster.Pump:
		return []uint16{8250}
	case tidbcluster.Discovery:
		return []uint16{10261, 10262}
	default:
		return nil
	}
}

// targets returns the ports to try of a peer: those of its component, those that faults
// name, and 0 for ping. There and back are the faults for its packets, at either end.
func targets(peer *Pod, there, back []fault.Fault) []uint16 {
	ports := slices.Clone(portsOf(peer.Component))
	add := func(ranges []api.PortRange) {
		for _, r := range ranges {
			port := r.First
			if port == api.Port && r.Last > port {
				port++
			}
			if port != api.Port && !slices.Contains(ports, port) {
				ports = append(ports, port)
			}
		}
	}
	for _, f := range there {
		add(f.Match.RemotePorts)
	}
	for _, f := range back {
		add(f.Match.LocalPorts)
	}
	if peer.Agent != NoAgent {
		// The agent of the other pod alone delays both ways then, and with nfqueue a ping from
		// inside that pod does not show it.
		ports = append(ports, 0)
	}
	return ports
}

// The ports that Linux takes for the side of a connection that connects
// (net.ipv4.ip_local_port_range).
const firstEphemeral, lastEphemeral = 32768, 60999

// isByChance reports whether a fault is for some of these ports only, so that nobody knows
// whether a handshake will meet it.
func isByChance(ranges []api.PortRange) bool {
	return slices.ContainsFunc(ranges, func(r api.PortRange) bool {
		meetsSome := r.Last >= firstEphemeral && r.First <= lastEphemeral
		meetsAll := r.First <= firstEphemeral && r.Last >= lastEphemeral
		return meetsSome && !meetsAll
	})
}
