package fault

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Protocol numbers of the IP header (IANA's Assigned Internet Protocol Numbers).
const (
	protocolICMP   = 1
	protocolTCP    = 6
	protocolUDP    = 17
	protocolICMPv6 = 58
)

// Term is one combination of a match's alternatives: what a single filter or
// rule of an engine matches.
type Term struct {
	// V6 tells which of the two IP families this is for.
	V6 bool
	// Peer is the remote address; invalid for any.
	Peer netip.Prefix
	// Protocol is an IP protocol number, 0 for any.
	Protocol uint8
	// Remote and Local are ports; zero for any. With either, Protocol is TCP or
	// UDP.
	Remote, Local api.PortRange
}

// Rule says that packets which match a term meet a fault.
type Rule struct {
	Term
	// Fault is the fault's name.
	Fault string
}

// Rules returns the rules of the faults that are for one direction on one device.
// They are in the order in which an engine must try them, the most precise first.
// They are compared by, each only if those before it are equal:
//
//  1. the longest peer prefix (none is the shortest),
//  2. ports on both sides, then on one, then on none,
//  3. the narrowest remote ports, then the narrowest local ones,
//  4. a protocol before none,
//  5. address, ports, protocol number and the fault's name, so that the order
//     is the same on every pod.
func Rules(faults []Fault, direction Direction, device string) []Rule {
	var rules []Rule
	for _, f := range faults {
		if !f.Match.On(direction, device) {
			continue
		}
		for _, term := range f.Match.terms() {
			rules = append(rules, Rule{Term: term, Fault: f.Name})
		}
	}
	slices.SortFunc(rules, func(a, b Rule) int {
		return cmp.Or(a.compare(b.Term), strings.Compare(a.Fault, b.Fault))
	})
	return rules
}

// terms expands the alternatives of a match.
func (m Match) terms() []Term {
	anyPort := []api.PortRange{{}}
	remotes, locals := m.RemotePorts, m.LocalPorts
	ports := len(remotes) > 0 || len(locals) > 0
	if len(remotes) == 0 {
		remotes = anyPort
	}
	if len(locals) == 0 {
		locals = anyPort
	}
	var terms []Term
	for _, base := range m.peerTerms() {
		for _, protocol := range protocolNumbers(m.Protocol, base.V6, ports) {
			for _, remote := range remotes {
				for _, local := range locals {
					term := base
					term.Protocol, term.Remote, term.Local = protocol, remote, local
					terms = append(terms, term)
				}
			}
		}
	}
	return terms
}

// countTerms is how many terms there are, without making them.
func (m Match) countTerms() int {
	count := 0
	ports := len(m.RemotePorts) > 0 || len(m.LocalPorts) > 0
	for _, base := range m.peerTerms() {
		count += len(protocolNumbers(m.Protocol, base.V6, ports))
	}
	return count * max(len(m.RemotePorts), 1) * max(len(m.LocalPorts), 1)
}

// peerTerms has a term for each peer, or one for each family.
func (m Match) peerTerms() []Term {
	if len(m.Peers) == 0 {
		return []Term{{V6: false}, {V6: true}}
	}
	terms := make([]Term, 0, len(m.Peers))
	for _, peer := range m.Peers {
		terms = append(terms, Term{V6: peer.Addr().Is6(), Peer: peer})
	}
	return terms
}

// protocolNumbers returns the alternatives of a protocol. Ports without a
// protocol are those of TCP and of UDP.
func protocolNumbers(name string, v6, ports bool) []uint8 {
	switch {
	case name == ProtocolTCP:
		return []uint8{protocolTCP}
	case name == ProtocolUDP:
		return []uint8{protocolUDP}
	case name == ProtocolICMP && v6:
		return []uint8{protocolICMPv6}
	case name == ProtocolICMP:
		return []uint8{protocolICMP}
	case ports:
		return []uint8{protocolTCP, protocolUDP}
	default:
		return []uint8{0}
	}
}

// compare orders terms, the more precise first; equal terms match the same.
func (t Term) compare(u Term) int {
	return cmp.Or(
		-cmp.Compare(t.prefixLength(), u.prefixLength()),
		-cmp.Compare(t.sides(), u.sides()),
		cmp.Compare(width(t.Remote), width(u.Remote)),
		cmp.Compare(width(t.Local), width(u.Local)),
		-cmp.Compare(min(t.Protocol, 1), min(u.Protocol, 1)),
		boolCompare(t.V6, u.V6),
		t.Peer.Addr().Compare(u.Peer.Addr()),
		cmp.Compare(t.Remote.First, u.Remote.First),
		cmp.Compare(t.Local.First, u.Local.First),
		cmp.Compare(t.Protocol, u.Protocol),
	)
}

func (t Term) prefixLength() int {
	if !t.Peer.IsValid() {
		return -1
	}
	return t.Peer.Bits()
}

func (t Term) sides() int {
	sides := 0
	for _, r := range []api.PortRange{t.Remote, t.Local} {
		if r != (api.PortRange{}) {
			sides++
		}
	}
	return sides
}

// width is how many ports a range has; any has the most.
func width(r api.PortRange) int {
	if r == (api.PortRange{}) {
		return 1 << 16
	}
	return int(r.Last) - int(r.First) + 1
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// String says what a term matches.
func (t Term) String() string {
	family, names := "IPv4", map[uint8]string{protocolTCP: "TCP", protocolUDP: "UDP", protocolICMP: "ICMP", protocolICMPv6: "ICMPv6"}
	if t.V6 {
		family = "IPv6"
	}
	words := []string{"all " + family}
	if t.Protocol != 0 {
		words = append(words, names[t.Protocol])
	}
	if t.Peer.IsValid() {
		words = append(words, "with peer "+t.Peer.String())
	}
	if t.Remote != (api.PortRange{}) {
		words = append(words, "remote port "+t.Remote.String())
	}
	if t.Local != (api.PortRange{}) {
		words = append(words, "local port "+t.Local.String())
	}
	return strings.Join(words, " ")
}

// conflict returns the first two faults that have a term in common in the same
// direction on the same device.
func conflict(faults []Fault) error {
	type key struct {
		Term
		direction Direction
	}
	owners := make(map[key][]Fault)
	for _, f := range faults {
		for _, term := range f.Match.terms() {
			for _, direction := range []Direction{Egress, Ingress} {
				if !f.Match.Direction.Has(direction) {
					continue
				}
				here := key{term, direction}
				for _, other := range owners[here] {
					if f.Match.Device == "" || other.Match.Device == "" || f.Match.Device == other.Match.Device {
						return Conflict{A: other.Name, B: f.Name, Packets: fmt.Sprintf("%s of direction %s", term, direction)}
					}
				}
				owners[here] = append(owners[here], f)
			}
		}
	}
	return nil
}
