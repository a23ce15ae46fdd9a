package fault

import (
	"net/netip"
	"slices"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Direction is where packets go, as the pod sees it. It is a set of bits.
type Direction uint8

// The directions.
const (
	Egress  Direction = 1 << iota // leaves the pod
	Ingress                       // arrives at the pod
	Both    = Egress | Ingress
)

// Has reports whether d includes e.
func (d Direction) Has(e Direction) bool { return d&e == e }

// String returns the API's word for it.
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

// Match says which packets a fault meets: those that match every field. A field
// with several values matches any of them, and an empty field matches all packets.
type Match struct {
	Direction Direction
	// Device narrows the fault to one interface.
	Device string
	// Peers are remote addresses, at most 512; masked, sorted and without repeats.
	Peers []netip.Prefix
	// LocalPorts and RemotePorts are at most 16 each; sorted and without repeats.
	LocalPorts, RemotePorts []api.PortRange
	// Protocol is "", "tcp", "udp" or "icmp".
	Protocol string
}

// On reports whether the fault is for packets of one direction on one device.
func (m Match) On(direction Direction, device string) bool {
	return m.Direction.Has(direction) && (m.Device == "" || m.Device == device)
}

// WaitsFor reports whether all devices that a match is for are missing, given the
// devices of the scope and those of them that are.
func (m Match) WaitsFor(devices, missing []string) bool {
	return !slices.ContainsFunc(devices, func(name string) bool {
		return (m.Device == "" || m.Device == name) && !slices.Contains(missing, name)
	})
}
