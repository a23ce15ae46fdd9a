package explain

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Unmet warns of the peers and ports in faults that no packet can have, given the
// addresses of the pod, loopback's too, and the traffic that no fault touches. Such
// a fault is not refused, because it can get an effect later: when the pod gets an
// address of another family, for one.
func Unmet(faults []fault.Fault, own []netip.Addr, exempt fault.Exemption) []string {
	all := []string{}
	for _, f := range faults {
		all = append(all, unmetPeers(f, own)...)
		all = append(all, unmetPorts(f, exempt)...)
	}
	return all
}

// unmetPeers warns of the peers of a fault that no packet can have, once for each
// reason.
func unmetPeers(f fault.Fault, own []netip.Addr) []string {
	var reasons []string
	peersOf := make(map[string][]netip.Prefix) // by reason
	unmet := 0
	for _, peer := range f.Match.Peers {
		why := whyNoPeer(peer, f.Match.Direction, own)
		if why == "" {
			continue
		}
		if peersOf[why] == nil {
			reasons = append(reasons, why)
		}
		peersOf[why] = append(peersOf[why], peer)
		unmet++
	}
	var all []string
	for _, why := range reasons {
		all = append(all, warnUnmet(f, "packet", unmet == len(f.Match.Peers), "peers", enumerate(peers(peersOf[why])), why))
	}
	return all
}

// warnUnmet words one warning. The whole fault meets no packet of a kind, or only
// some of the values of a field are in vain.
func warnUnmet(f fault.Fault, packet string, whole bool, field, values, why string) string {
	if whole {
		return fmt.Sprintf("fault %q meets no %s: %s %s: %s", f.Name, packet, field, values, why)
	}
	return fmt.Sprintf("fault %q: no %s matches %s %s: %s", f.Name, packet, field, values, why)
}

// whyNoPeer says why no packet on the pod's interfaces has a peer; empty if one
// can.
func whyNoPeer(peer netip.Prefix, direction fault.Direction, own []netip.Addr) string {
	addr := peer.Addr()
	switch {
	case addr.IsLoopback() && (addr.Is6() || peer.Bits() >= 8):
		return "loopback is never touched"
	case peer.IsSingleIP() && addr.IsUnspecified():
		return fmt.Sprintf("that is a single address, which no peer has; all of the family are %s/0", addr)
	case peer.IsSingleIP() && slices.Contains(own, addr):
		return "an address of the pod itself, whose packets cross loopback, which is never touched"
	case direction == fault.Ingress && addr.IsMulticast() && (addr.Is6() || peer.Bits() >= 4):
		return "no packet arrives from a multicast address"
	default:
		return whyNoFamily(addr, own)
	}
}

// whyNoFamily says why the pod has no address that could talk to this one; empty if
// it has one.
func whyNoFamily(addr netip.Addr, own []netip.Addr) string {
	usable := func(a netip.Addr) bool { return a.Is4() == addr.Is4() && !a.IsLoopback() }
	routed := func(a netip.Addr) bool { return usable(a) && !a.IsLinkLocalUnicast() }
	switch {
	case !slices.ContainsFunc(own, usable):
		return fmt.Sprintf("the pod has no %s address", familyOf(addr))
	case addr.IsGlobalUnicast() && !slices.ContainsFunc(own, routed):
		return fmt.Sprintf("the pod has no %s address but link-local ones", familyOf(addr))
	}
	return ""
}

func familyOf(addr netip.Addr) string {
	if addr.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// unmetPorts warns of the ports of a fault that only exempt packets have. Exempt
// is TCP alone; ports without a protocol are UDP's too.
func unmetPorts(f fault.Fault, exempt fault.Exemption) []string {
	m := f.Match
	if m.Protocol != "" && m.Protocol != fault.ProtocolTCP {
		return nil
	}
	packet := "TCP packet"
	if m.Protocol == fault.ProtocolTCP {
		packet = "packet"
	}
	control := api.PortRange{First: exempt.ControlPort, Last: exempt.ControlPort}
	var all []string
	for _, side := range []struct {
		field string
		ports []api.PortRange
	}{{"ports.remote", m.RemotePorts}, {"ports.local", m.LocalPorts}} {
		if slices.Contains(side.ports, control) {
			all = append(all, warnUnmet(f, packet, len(side.ports) == 1, side.field, control.String(),
				"it is the agent's own TCP port, which is never touched"))
		}
	}
	if onlyProbes(m, exempt) {
		all = append(all, warnUnmet(f, packet, true, "ports.local", enumerate(m.LocalPorts),
			"kubelet's probes come from these peers to these ports, and are never touched"))
	}
	return all
}

// onlyProbes reports whether all TCP packets of a match are kubelet's probes.
func onlyProbes(m fault.Match, exempt fault.Exemption) bool {
	return len(m.Peers) > 0 && len(m.LocalPorts) > 0 &&
		!slices.ContainsFunc(m.Peers, func(peer netip.Prefix) bool {
			return !peer.IsSingleIP() || !slices.Contains(exempt.NodeAddrs, peer.Addr())
		}) &&
		!slices.ContainsFunc(m.LocalPorts, func(r api.PortRange) bool {
			return r.First != r.Last || !slices.Contains(exempt.ProbePorts, r.First)
		})
}
