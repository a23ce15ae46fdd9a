package compile

import (
	"cmp"
	"net/netip"

	"github.com/tidelay/tidelay/pkg/fault"
)

// peer is an address of a pod, or a range outside the cluster.
type peer struct {
	prefix netip.Prefix
	pod    string // empty for a range
	agent  bool
	// from and to are the objects on whose sides the pod is.
	from, to set
	// zone is nil for a pod in none, and for a range.
	zone *zone
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// met are the objects that packets between a pod and a peer meet: by the peer's port
// (remote) or by the pod's own (local), for an object that has ports.
type met struct {
	remote, local set
	passage
}

// passage is what tells packets apart that meet the same objects.
type passage struct {
	// link is that of the topology; nil if they do not meet it.
	link *link
	// isFirst is whether the packets' sender is first by name, where that matters.
	isFirst bool
}

func (m met) all() set { return m.remote | m.local }

// leaving returns the objects for packets from a to b that a's agent has.
func (c *compilation) leaving(a, b peer) met {
	m := met{remote: a.from & b.to, local: a.to & b.from &^ c.oneWay}
	if m.link = a.zone.linkTo(b.zone); m.link != nil {
		m.remote |= c.ground
	}
	// A pod is before a range.
	m.isFirst = c.oddOf(m.all(), m.link) != 0 && a.pod != "" && (b.pod == "" || a.pod < b.pod)
	return m
}

// arriving returns the objects for packets from b to a that a's agent has. If b has an
// agent too, that one has them, and a's has partitions.
func (c *compilation) arriving(a, b peer) met {
	m := c.leaving(b, a)
	m.remote, m.local = m.local, m.remote
	if b.agent {
		return met{remote: m.remote & c.partition, local: m.local & c.partition}
	}
	return m
}

// oddOf returns those of some objects that do not halve evenly, with a link if the topology
// is among them.
func (c *compilation) oddOf(objects set, l *link) set {
	if l != nil && l.isOdd {
		return objects & (c.odd | c.ground)
	}
	return objects & c.odd
}

// group is the peers of a pod with which packets of one direction meet the same
// objects.
type group struct {
	direction fault.Direction
	met       met
	peers     []netip.Prefix
}

// groups returns those of a pod, in a fixed order. own are the pod's addresses.
func (c *compilation) groups(own peer) []group {
	type key struct {
		direction fault.Direction
		met       met
	}
	found := make(map[key]int)
	var groups []group
	note := func(direction fault.Direction, m met, other peer) {
		if m.all() == 0 {
			return
		}
		k := key{direction, m}
		i, known := found[k]
		if !known {
			i = len(groups)
			found[k] = i
			groups = append(groups, group{direction: direction, met: m})
		}
		groups[i].peers = append(groups[i].peers, other.prefix)
	}
	for _, other := range c.peers {
		if other.pod == own.pod {
			continue
		}
		note(fault.Egress, c.leaving(own, other), other)
		note(fault.Ingress, c.arriving(own, other), other)
	}
	return groups
}
