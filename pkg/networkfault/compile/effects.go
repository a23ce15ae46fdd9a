package compile

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Pair is two pods, A before B by name.
type Pair struct{ A, B string }

// Effect is the worst that happens to packets between two pods, but for those of UDP and
// ICMP: the components of a TidbCluster talk to each other by TCP. Where packets of some
// ports meet another fault than the others, the worst of them counts.
type Effect struct {
	// Partition is whether some packets are all dropped, in some direction.
	Partition bool
	// Loss is the highest chance of one packet to be lost otherwise, in some direction;
	// of a loss model it is the average.
	Loss fault.Percent
	// RTT is what is added to a round trip: the longest delay of each direction, added
	// up.
	RTT time.Duration
}

// Effects returns what a plan does to each pair of pods. A pair of which no packet that
// counts is lost or late is left out, and so is one without addresses of a common family.
func (p Plan) Effects(pods []Pod) map[Pair]Effect {
	c := newCrossing(pods)
	for pod, name := range c.names {
		for _, f := range p.Faults[name] {
			c.add(pod, f.Fault)
		}
	}
	return c.pairs()
}

// crossing has the packets between all pods, which are numbered in order of name.
type crossing struct {
	names []string
	// byAddr are the pods that have an address; there is one, but for mistakes.
	byAddr map[netip.Addr][]int
	// v4 and v6 are the pods that have an address of that family.
	v4, v6 []bool
	// leaving has what a pod does to packets that it sends to each pod, and arriving
	// what it does to those from each pod; nil if it does nothing.
	leaving, arriving [][]oneWay
}

// oneWay is the worst that happens to packets of one direction, at one of their ends.
type oneWay struct {
	partition bool
	loss      fault.Percent
	delay     time.Duration
}

func (o oneWay) worst(other oneWay) oneWay {
	return oneWay{o.partition || other.partition, max(o.loss, other.loss), max(o.delay, other.delay)}
}

func newCrossing(pods []Pod) *crossing {
	c := &crossing{byAddr: make(map[netip.Addr][]int)}
	for _, pod := range pods {
		c.names = append(c.names, pod.Name)
	}
	slices.Sort(c.names)
	c.names = slices.Compact(c.names)
	n := len(c.names)
	c.v4, c.v6 = make([]bool, n), make([]bool, n)
	c.leaving, c.arriving = make([][]oneWay, n), make([][]oneWay, n)
	for _, pod := range pods {
		i, _ := slices.BinarySearch(c.names, pod.Name)
		for _, addr := range pod.Addrs {
			c.byAddr[addr] = append(c.byAddr[addr], i)
			c.v4[i], c.v6[i] = c.v4[i] || addr.Is4(), c.v6[i] || addr.Is6()
		}
	}
	return c
}

// add adds a fault of a pod. A peer that is a range is outside the cluster.
func (c *crossing) add(pod int, f fault.Fault) {
	here := oneWay{f.Impairment.Partition, f.Impairment.AverageLoss(), f.Impairment.LongestDelay()}
	counts := f.Match.Protocol != fault.ProtocolUDP && f.Match.Protocol != fault.ProtocolICMP
	if here == (oneWay{}) || !counts {
		return
	}
	for _, side := range []struct {
		direction fault.Direction
		rows      [][]oneWay
	}{{fault.Egress, c.leaving}, {fault.Ingress, c.arriving}} {
		if !f.Match.Direction.Has(side.direction) {
			continue
		}
		if side.rows[pod] == nil {
			side.rows[pod] = make([]oneWay, len(c.names))
		}
		row := side.rows[pod]
		for _, peer := range f.Match.Peers {
			if !peer.IsSingleIP() || peer.Addr().Is4() && !c.v4[pod] || peer.Addr().Is6() && !c.v6[pod] {
				continue
			}
			for _, other := range c.byAddr[peer.Addr()] {
				row[other] = row[other].worst(here)
			}
		}
	}
}

// way returns what happens to packets from one pod to another. Chance and delay are at
// one of their ends only, so the worse end has both; see compilation.arriving.
func (c *crossing) way(from, to int) (o oneWay) {
	if row := c.leaving[from]; row != nil {
		o = row[to]
	}
	if row := c.arriving[to]; row != nil {
		o = o.worst(row[from])
	}
	return o
}

func (c *crossing) pairs() map[Pair]Effect {
	var pairs []Pair
	var effects []Effect
	for a := range c.names {
		for b := a + 1; b < len(c.names); b++ {
			forth, back := c.way(a, b), c.way(b, a)
			e := Effect{forth.partition || back.partition, max(forth.loss, back.loss), forth.delay + back.delay}
			if e != (Effect{}) {
				pairs, effects = append(pairs, Pair{c.names[a], c.names[b]}), append(effects, e)
			}
		}
	}
	all := make(map[Pair]Effect, len(pairs)) // made at its size: 200 pods have 19,900 pairs
	for i, p := range pairs {
		all[p] = effects[i]
	}
	return all
}
