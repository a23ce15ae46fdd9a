package fault

import (
	"net/netip"
	"slices"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Packet has the parts of a packet, as the pod sees it, that decide which fault it
// meets.
type Packet struct {
	// Peer is the remote address.
	Peer netip.Addr
	// Protocol is "tcp", "udp" or "icmp".
	Protocol string
	// Remote and Local are the ports; 0 if not known. An unknown port matches no
	// rule that names ports of that side.
	Remote, Local uint16
}

// FaultFor returns the fault that a packet of one direction meets on a device:
// that of the first of Rules which matches; nil if none does. It does not know
// which traffic is exempt.
func FaultFor(faults []Fault, direction Direction, device string, p Packet) *Fault { //nolint:revive // fault.For would say too little
	for _, rule := range Rules(faults, direction, device) {
		if !rule.matches(p) {
			continue
		}
		i := slices.IndexFunc(faults, func(f Fault) bool { return f.Name == rule.Fault })
		return &faults[i]
	}
	return nil
}

func (t Term) matches(p Packet) bool {
	return t.V6 == p.Peer.Is6() &&
		(!t.Peer.IsValid() || t.Peer.Contains(p.Peer)) &&
		(t.Protocol == 0 || slices.Contains(protocolNumbers(p.Protocol, t.V6, false), t.Protocol)) &&
		within(t.Remote, p.Remote) && within(t.Local, p.Local)
}

func within(r api.PortRange, port uint16) bool {
	return r == (api.PortRange{}) || port != 0 && r.First <= port && port <= r.Last
}
