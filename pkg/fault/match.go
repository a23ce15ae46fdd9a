package fault

import (
	"net/netip"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Direction is the pod's view of packets, a set of bits.
type Direction uint8

// Directions.
const (
	Egress  Direction = 1 << iota // leaves the pod
	Ingress                       // arrives at the pod
	Both    = Egress | Ingress
)

// Has reports whether d includes e.
func (d Direction) Has(e Direction) bool { return d&e == e }

// String returns the word on the wire.
func (d Direction) String() string {
	switch d {
	case Ingress:
		return "ingress"
	case Both:
		return "both"
	default:
		return "egress"
	}
}

// Match says which packets a fault meets. Its terms are ANDed, the values of
// one term are alternatives, and an empty term admits everything.
type Match struct {
	Direction Direction
	// Device narrows the fault to one interface.
	Device string
	// Peers are remote addresses; masked, sorted and without repeats.
	Peers []netip.Prefix
	// LocalPorts and RemotePorts are sorted and without repeats.
	LocalPorts, RemotePorts []api.PortRange
	// Protocol is "", "tcp", "udp" or "icmp".
	Protocol string
}

// Everything reports whether the match admits every packet of its direction
// and device.
func (m Match) Everything() bool {
	return len(m.Peers) == 0 && len(m.LocalPorts) == 0 && len(m.RemotePorts) == 0 && m.Protocol == ""
}

// On reports whether the fault is for packets of one direction on one device.
func (m Match) On(direction Direction, device string) bool {
	return m.Direction.Has(direction) && (m.Device == "" || m.Device == device)
}
