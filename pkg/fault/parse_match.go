package fault

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Bounds of the matches of faults.
const (
	maxPeers = 512
	maxPorts = 16
	// maxTerms is for all faults of a set together.
	maxTerms = 4_000
)

func (p *parser) match(at string, w api.Fault) Match {
	m := Match{Device: w.Device, Protocol: w.Protocol}
	switch w.Direction {
	case "", "egress":
		m.Direction = Egress
	case "ingress":
		m.Direction = Ingress
	case "both":
		m.Direction = Both
	default:
		p.bad(at+"direction", w.Direction, "want egress, ingress or both")
	}
	if w.Device != "" && !p.limits.Stored && !slices.Contains(p.limits.Devices, w.Device) {
		p.bad(at+"device", w.Device, "want one of the agent's interfaces: "+strings.Join(p.limits.Devices, ", "))
	}
	switch w.Protocol {
	case "", ProtocolTCP, ProtocolUDP:
	case ProtocolICMP:
		if w.Ports != nil {
			p.bad(at+"ports", "with protocol icmp", "ICMP has no ports: want protocol tcp or udp, or no ports")
		}
	default:
		p.bad(at+"protocol", w.Protocol, "want tcp, udp or icmp")
	}
	m.Peers = p.peers(at+"peers", w.Peers)
	if w.Ports != nil {
		m.LocalPorts = p.ports(at+"ports.local", w.Ports.Local)
		m.RemotePorts = p.ports(at+"ports.remote", w.Ports.Remote)
		if w.Ports.Local == nil && w.Ports.Remote == nil {
			p.bad(at+"ports", "{}", "want local or remote ports, or no ports at all")
		}
	}
	if m.countTerms() > maxTerms {
		p.bad(at+"peers", fmt.Sprintf("%d peers with %d local and %d remote ports", len(m.Peers), len(m.LocalPorts), len(m.RemotePorts)),
			fmt.Sprintf("want at most %d combinations of peer, ports and protocol", maxTerms))
	}
	return m
}

// notEmpty refuses a list that is there and has nothing in it: the fault would
// meet all packets, where whoever made the list found none.
func notEmpty[T any](p *parser, field string, list []T) {
	if list != nil && len(list) == 0 {
		p.bad(field, "[]", "want at least one; leave it out for all")
	}
}

func (p *parser) peers(field string, all []string) []netip.Prefix {
	notEmpty(p, field, all)
	if len(all) > maxPeers {
		p.bad(field, fmt.Sprintf("%d peers", len(all)), fmt.Sprintf("want at most %d", maxPeers))
		return nil
	}
	var peers []netip.Prefix
	for i, text := range all {
		peer, err := ParsePeer(text)
		if err != nil {
			p.bad(fmt.Sprintf("%s[%d]", field, i), text, `want an IP address or a CIDR, IPv4 or IPv6 ("10.0.0.5", "10.1.0.0/16", "fd00::/64")`)
			continue
		}
		peers = append(peers, peer)
	}
	slices.SortFunc(peers, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return slices.Compact(peers)
}

// ParsePeer reads an address or a CIDR. Host bits of a CIDR are cleared. An
// IPv4-mapped address (::ffff:10.0.0.5) is read as IPv4.
func ParsePeer(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("peer %q: a zone says nothing here", api.Shorten(s))
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("peer %q: no IP address and no CIDR", api.Shorten(s))
	}
	return prefix.Masked(), nil
}

func (p *parser) ports(field string, all []api.PortRange) []api.PortRange {
	notEmpty(p, field, all)
	if len(all) > maxPorts {
		p.bad(field, fmt.Sprintf("%d ports and ranges", len(all)), fmt.Sprintf("want at most %d", maxPorts))
		return nil
	}
	for i, r := range all {
		if r.First == 0 || r.Last < r.First {
			p.bad(fmt.Sprintf("%s[%d]", field, i), r.String(), api.PortAccepted)
		}
	}
	ports := slices.SortedFunc(slices.Values(all), func(a, b api.PortRange) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	return slices.Compact(ports)
}
