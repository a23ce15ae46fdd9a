package fault

import (
	"net/netip"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Overlap is packets that two faults match, and that meet the more precise one.
type Overlap struct {
	// Loses and Takes are the names of the less and of the more precise fault.
	Loses, Takes string
	// Packets is an example of what both match, in words.
	Packets string
}

// Overlaps returns the pairs of faults of a set of which the second takes packets
// away from the first, in the order of the faults.
func Overlaps(faults []Fault) []Overlap {
	terms := make([][]Term, len(faults))
	for i, f := range faults {
		terms[i] = f.Match.terms()
	}
	var all []Overlap
	for i, loses := range faults {
		index := indexPeers(terms[i])
		for j, takes := range faults {
			direction := loses.Match.Direction & takes.Match.Direction
			otherDevice := loses.Match.Device != "" && takes.Match.Device != "" && loses.Match.Device != takes.Match.Device
			if i == j || direction == 0 || otherDevice {
				continue
			}
			if packets, ok := index.takenBy(terms[j]); ok {
				all = append(all, Overlap{loses.Name, takes.Name, packets.String() + " of direction " + direction.String()})
			}
		}
	}
	return all
}

// peerIndex has the terms of one fault by their peers, because to compare each of
// hundreds with each of another fault's hundreds would take long.
type peerIndex struct {
	terms map[peerKey][]Term
	// lengths are the different prefix lengths of the peers; -1 is that of none.
	lengths map[int]bool
}

type peerKey struct {
	v6   bool
	peer netip.Prefix
}

func indexPeers(terms []Term) peerIndex {
	index := peerIndex{terms: make(map[peerKey][]Term), lengths: make(map[int]bool)}
	for _, t := range terms {
		key := peerKey{t.V6, t.Peer}
		index.terms[key] = append(index.terms[key], t)
		index.lengths[t.prefixLength()] = true
	}
	return index
}

// takenBy returns packets that match one of the terms in the index and meet one of
// other terms, because that is more precise.
func (i peerIndex) takenBy(others []Term) (Term, bool) {
	for _, other := range others {
		for length := range i.lengths {
			if length > other.prefixLength() {
				continue
			}
			key := peerKey{v6: other.V6}
			if length >= 0 {
				key.peer = netip.PrefixFrom(other.Peer.Addr(), length).Masked()
			}
			for _, t := range i.terms[key] {
				if both, ok := t.and(other); ok && other.compare(t) < 0 {
					return both, true
				}
			}
		}
	}
	return Term{}, false
}

// and returns what matches both terms, if the peer of u is within that of t. It
// returns false if nothing does.
func (t Term) and(u Term) (Term, bool) {
	remote, anyRemote := intersect(t.Remote, u.Remote)
	local, anyLocal := intersect(t.Local, u.Local)
	sameProtocol := t.Protocol == u.Protocol || t.Protocol == 0 || u.Protocol == 0
	both := Term{V6: u.V6, Peer: u.Peer, Protocol: max(t.Protocol, u.Protocol), Remote: remote, Local: local}
	return both, anyRemote && anyLocal && sameProtocol
}

// intersect returns the ports that are in both ranges, and false if there are
// none. The zero range has all ports.
func intersect(a, b api.PortRange) (api.PortRange, bool) {
	switch {
	case a == api.PortRange{}:
		return b, true
	case b == api.PortRange{}:
		return a, true
	}
	both := api.PortRange{First: max(a.First, b.First), Last: min(a.Last, b.Last)}
	return both, both.First <= both.Last
}
