package fault

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Bounds of the matches of faults.
const (
	maxPeers = 64
	maxPorts = 16
	maxTerms = 512
	// maxAllTerms is for all faults of a set together, because a packet is compared
	// with the terms one after the other.
	maxAllTerms = 1_000
)

// Limits are what faults depend on besides themselves: the clock, the agent's
// flags and its interfaces.
type Limits struct {
	// Now is the time durations count from.
	Now time.Time
	// MaxDuration caps every duration, and is that of a fault that names none; 0
	// for no cap.
	MaxDuration time.Duration
	// Devices are the interfaces that a fault can name.
	Devices []string
	// Stored is for faults that an agent accepted before: ExpiresAt is not
	// checked and may be in the past, and MaxDuration does not apply.
	Stored bool
}

// Parse reads one fault. The error is an Invalid with every bad value.
func Parse(w api.Fault, limits Limits) (Fault, error) {
	p := parser{limits: limits}
	f := p.fault("", w)
	return f, p.err()
}

// ParseLatency reads the fault named latency: a delay that ParseDelay returned,
// above 0, and from w the jitter, correlation, distribution, direction and life.
// The error is an Invalid with every bad value.
func ParseLatency(delay time.Duration, w api.Fault, limits Limits) (Fault, error) {
	p := parser{limits: limits}
	f := Fault{Name: Latency, Match: p.match("", w), Impairment: Impairment{Delay: delay}}
	p.jitter("", w, &f.Impairment, false)
	f.ExpiresAt = p.expiry("", w)
	return f, p.err()
}

// ParseSet reads a whole set and sorts it by name. The error is an Invalid, or
// a Conflict between two faults.
func ParseSet(w []api.Fault, limits Limits) ([]Fault, error) {
	p := parser{limits: limits}
	if len(w) > MaxFaults {
		p.bad("faults", strconv.Itoa(len(w))+" faults", fmt.Sprintf("want at most %d at once", MaxFaults))
		return nil, p.err()
	}
	faults := make([]Fault, 0, len(w))
	for i, one := range w {
		place := fmt.Sprintf("faults[%d].", i)
		f := p.fault(place, one)
		if slices.ContainsFunc(faults, func(other Fault) bool { return other.Name == f.Name }) {
			p.bad(place+"name", f.Name, "want each name once")
		}
		faults = append(faults, f)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return NewSet(faults)
}

// NewSet returns faults with different names as a set, sorted by name. The error
// is a Conflict, or an Invalid when there are too many faults or too many terms in
// all of them.
func NewSet(faults []Fault) ([]Fault, error) {
	if len(faults) > MaxFaults {
		return nil, Invalid{{Field: "faults", Value: strconv.Itoa(len(faults)) + " faults", Accepted: fmt.Sprintf("want at most %d at once", MaxFaults)}}
	}
	terms := 0
	for _, f := range faults {
		terms += len(f.Match.terms())
	}
	if terms > maxAllTerms {
		return nil, Invalid{{Field: "faults", Value: strconv.Itoa(terms) + " combinations", Accepted: fmt.Sprintf("want at most %d combinations of peer, ports and protocol in all faults together", maxAllTerms)}}
	}
	sorted := slices.SortedFunc(slices.Values(faults), func(a, b Fault) int { return strings.Compare(a.Name, b.Name) })
	if err := conflict(sorted); err != nil {
		return nil, err
	}
	return sorted, nil
}

// parser collects every bad value, to report all of them at once.
type parser struct {
	limits  Limits
	invalid Invalid
}

func (p *parser) err() error {
	if len(p.invalid) == 0 {
		return nil
	}
	return p.invalid
}

func (p *parser) bad(field, value, accepted string) {
	p.invalid = append(p.invalid, api.FieldError{Field: field, Value: api.Shorten(value), Accepted: accepted})
}

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

func (p *parser) fault(at string, w api.Fault) Fault {
	f := Fault{Name: w.Name}
	if !namePattern.MatchString(w.Name) {
		p.bad(at+"name", w.Name, `want at most 63 of a-z, 0-9, "-" and ".", a letter or digit at both ends`)
	}
	f.Match = p.match(at, w)
	f.Impairment = p.impairment(at, w)
	f.ExpiresAt = p.expiry(at, w)
	return f
}

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
	if w.Device != "" && !slices.Contains(p.limits.Devices, w.Device) {
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
		if len(w.Ports.Local)+len(w.Ports.Remote) == 0 {
			p.bad(at+"ports", "{}", "want local or remote ports, or no ports at all")
		}
	}
	combinations := max(len(m.Peers), 2) * max(len(m.LocalPorts), 1) * max(len(m.RemotePorts), 1) * 2
	if combinations > maxTerms {
		p.bad(at+"peers", fmt.Sprintf("%d peers with %d local and %d remote ports", len(m.Peers), len(m.LocalPorts), len(m.RemotePorts)),
			fmt.Sprintf("want at most %d combinations of peer, ports and protocol", maxTerms))
	}
	return m
}

func (p *parser) peers(field string, all []string) []netip.Prefix {
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
// IPv4-mapped address (::ffff:10.0.0.5) becomes IPv4.
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
	if len(all) > maxPorts {
		p.bad(field, fmt.Sprintf("%d ports and ranges", len(all)), fmt.Sprintf("want at most %d", maxPorts))
		return nil
	}
	for i, r := range all {
		if r.First == 0 || r.Last < r.First {
			p.bad(fmt.Sprintf("%s[%d]", field, i), r.String(), `want a port from 1 to 65535 or a range "FIRST-LAST"`)
		}
	}
	ports := slices.SortedFunc(slices.Values(all), func(a, b api.PortRange) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	return slices.Compact(ports)
}

func (p *parser) expiry(at string, w api.Fault) time.Time {
	limit := p.limits.MaxDuration
	capped := fmt.Sprintf("; the agent's --max-duration is %s", limit)
	switch {
	case w.Duration != "" && w.ExpiresAt != "":
		p.bad(at+"duration", w.Duration, "want either duration or expiresAt")
	case w.Duration != "":
		d, err := ParseDuration(w.Duration)
		if err != nil {
			p.bad(at+"duration", w.Duration, durationAccepted)
		} else if limit > 0 && d > limit {
			p.bad(at+"duration", w.Duration, durationAccepted+capped)
		}
		return p.limits.Now.Add(d)
	case w.ExpiresAt != "":
		return p.expiresAt(at+"expiresAt", w.ExpiresAt, capped)
	case limit > 0 && !p.limits.Stored:
		return p.limits.Now.Add(limit)
	}
	return time.Time{}
}

func (p *parser) expiresAt(field, text, capped string) time.Time {
	limit := p.limits.MaxDuration
	t, err := time.Parse(time.RFC3339Nano, text)
	switch {
	case err == nil && p.limits.Stored && !t.IsZero():
	case err != nil || t.Sub(p.limits.Now) > MaxDuration:
		p.bad(field, text, `want a time of RFC 3339 within 720h from now ("2030-01-31T12:00:00Z")`)
	case !t.After(p.limits.Now):
		p.bad(field, text, "want a time in the future; here it is "+p.limits.Now.UTC().Format(time.RFC3339))
	case limit > 0 && t.Sub(p.limits.Now) > limit:
		p.bad(field, text, "want a time within the cap"+capped)
	}
	return t
}
