package verify

import (
	"net/netip"
	"slices"

	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
)

// route is the way from a pod that measures to one that answers, and back.
type route struct {
	from, to         *Pod
	fromAddr, toAddr netip.Addr
	// here are the faults at from for packets of to, and there the other way round.
	here, there ends
}

// ends are the faults at one end, and what each was compiled to.
type ends struct {
	faults []fault.Fault
	of     []*compile.Fault
}

// newRoute returns the route between two pods by a family of addresses; false if one has
// none of that family, or if chance decides which faults a handshake meets.
func newRoute(from, to *Pod, v6 bool) (route, bool) {
	r := route{from: from, to: to}
	var ok1, ok2 bool
	r.fromAddr, ok1 = from.addr(v6)
	r.toAddr, ok2 = to.addr(v6)
	if !ok1 || !ok2 {
		return r, false
	}
	r.here, r.there = endsOf(from.Faults, r.toAddr), endsOf(to.Faults, r.fromAddr)
	isByChance := slices.ContainsFunc(r.here.faults, func(f fault.Fault) bool { return isByChance(f.Match.LocalPorts) }) ||
		slices.ContainsFunc(r.there.faults, func(f fault.Fault) bool { return isByChance(f.Match.RemotePorts) })
	return r, !isByChance
}

// endsOf returns the faults for a peer, with that peer alone, so that few rules come of
// them.
func endsOf(all []compile.Fault, peer netip.Addr) ends {
	var e ends
	for i := range all {
		if !slices.ContainsFunc(all[i].Match.Peers, func(p netip.Prefix) bool { return p.Contains(peer) }) {
			continue
		}
		one := all[i].Fault
		one.Match.Peers = []netip.Prefix{netip.PrefixFrom(peer, peer.BitLen())}
		e.faults, e.of = append(e.faults, one), append(e.of, &all[i])
	}
	return e
}

// asked returns what is asked of a round trip to a port, or of a ping for 0, the objects that
// it shows, and those that it meets and does not show: where nothing gets through, all but
// those that let nothing through.
func (r *route) asked(port uint16) (a Asked, shown, hidden []string) {
	out := fault.Packet{Peer: r.toAddr, Protocol: fault.ProtocolTCP, Local: firstEphemeral, Remote: port}
	in := fault.Packet{Peer: r.fromAddr, Protocol: fault.ProtocolTCP, Local: port, Remote: firstEphemeral}
	if port == 0 {
		out = fault.Packet{Peer: r.toAddr, Protocol: fault.ProtocolICMP}
		in = fault.Packet{Peer: r.fromAddr, Protocol: fault.ProtocolICMP}
	}
	var objects, cuts []string
	for _, direction := range []fault.Direction{fault.Egress, fault.Ingress} {
		for _, end := range []struct {
			ends
			packet fault.Packet
		}{{r.here, out}, {r.there, in}} {
			if i := end.find(direction, end.packet); i >= 0 {
				a.add(end.faults[i].Impairment)
				objects, cuts = union(objects, end.of[i].Objects), union(cuts, end.of[i].Cuts)
			}
		}
	}
	if a.Cut {
		return a, cuts, without(objects, cuts)
	}
	return a, objects, nil
}

// find returns the place of the fault that a packet meets, or -1. No fault of a
// compilation is for one device only.
func (e ends) find(direction fault.Direction, p fault.Packet) int {
	f := fault.FaultFor(e.faults, direction, "", p)
	if f == nil {
		return -1
	}
	return slices.IndexFunc(e.faults, func(other fault.Fault) bool { return other.Name == f.Name })
}

// union returns the names of both. The result may be either of them.
func union(a, b []string) []string {
	all := a
	for _, name := range b {
		switch {
		case slices.Contains(all, name):
		case len(a) == 0:
			return b
		default:
			all = append(slices.Clip(all), name)
		}
	}
	return all
}

// without returns the names of the first that the second does not have.
func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(some, name) })
}

// isMeasured reports whether a handshake or a ping can show an impairment. All else the
// counters show, or nothing does.
func isMeasured(i fault.Impairment) bool { return i.Delay > 0 || i.IsCut() }

// add adds what happens to packets of one direction at one end.
func (a *Asked) add(i fault.Impairment) {
	if i.IsCut() {
		a.Cut = true
		return
	}
	a.RTT += i.Delay
	a.Spread += i.LongestDelay() - i.Delay
	a.Lossy = a.Lossy || i.Loses() || i.Corrupt != nil
	a.Rated = a.Rated || i.Rate != nil
	a.Reordered = a.Reordered || i.Reorder != nil
}

// cannot says why a handshake, or a ping, does not show what is asked for; "" if it does.
func (a Asked) cannot(isPing bool) string {
	switch {
	case a.Cut && isPing:
		return "that no ping is answered proves nothing, since a pod may not be allowed to ping"
	case a.Cut:
		return ""
	case a.RTT+a.Spread > longest:
		return "round trips of more than " + longest.String() + " are not measured"
	case a.RTT >= shortest && a.least() < shortest:
		return "chance can make the delay shorter than " + shortest.String() + ", and a handshake does not tell that from none"
	case a.RTT < shortest:
		return "a handshake shows delays of " + shortest.String() + " and more, and partitions"
	default:
		return ""
	}
}
