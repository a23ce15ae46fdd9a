package safety

import (
	"maps"
	"math/bits"
	"slices"

	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// verdict is what becomes of the quorum.
type verdict int

const (
	// kept says that a majority of PD stays together, and with it enough of TiKV.
	kept verdict = iota
	// lostByPD says that no majority of PD's members is healthy and unsevered.
	lostByPD
	// lostByTiKV says that with no such majority enough of TiKV stays together.
	lostByTiKV
)

// severed is a set of pairs that can hardly talk to each other.
type severed map[compile.Pair]bool

// members is a set of PD's members, by their number in Facts.
type members uint16

func (m members) has(i int) bool { return m&(1<<i) != 0 }

// graph is what is left of PD and TiKV.
type graph struct {
	// size is how many members PD has, and healthy those that can be part of a quorum.
	size    int
	healthy members
	// apart are the members that a member is severed from.
	apart [maxMembers]members
	// broken are the failure domains of TiKV that are lost anyway, and from are the
	// members that each of them is severed from.
	broken []bool
	from   []members
	// edges are the pairs of failure domains that are severed from each other.
	edges [][2]int
	// losable is how many failure domains can be lost.
	losable int
	// down are the pods of PD and of TiKV that are not healthy.
	down []string
}

// graph returns what is left when pairs are severed. ours are the pairs that were severed
// when PD was asked about health: what follows from them does not count.
func (f Facts) graph(pairs, ours severed) graph {
	g, memberOf, domainOf := f.nodes(ours)
	edges := make(map[[2]int]bool)
	for pair := range pairs {
		if !f.vital[pair.A] || !f.vital[pair.B] {
			continue
		}
		a, isMemberA := memberOf[pair.A]
		b, isMemberB := memberOf[pair.B]
		from, to := domainOf[pair.A], domainOf[pair.B]
		switch {
		case isMemberA && isMemberB:
			g.apart[a] |= 1 << b
			g.apart[b] |= 1 << a
		case isMemberA:
			g.from[to] |= 1 << a
		case isMemberB:
			g.from[from] |= 1 << b
		case from == to:
			g.broken[from] = true
		default:
			edges[[2]int{min(from, to), max(from, to)}] = true
		}
	}
	g.edges = slices.Collect(maps.Keys(edges))
	return g
}

// nodes returns the members of PD and the failure domains of TiKV, without what is
// severed, and their numbers by pod.
func (f Facts) nodes(ours severed) (g graph, memberOf, domainOf map[string]int) {
	domains := f.domains()
	g = graph{size: len(f.members), broken: make([]bool, len(domains)), from: make([]members, len(domains)), losable: losable(domains, f.replicas)}
	memberOf, domainOf = make(map[string]int), make(map[string]int)
	suspected := f.suspected(ours)
	for i, m := range f.members {
		memberOf[m.pod] = i
		if f.pods[m.pod].Ready && (m.healthy || suspected[m.pod]) {
			g.healthy |= 1 << i
		} else {
			g.down = append(g.down, m.pod)
		}
	}
	for i, d := range domains {
		for _, s := range d.stores {
			domainOf[s.pod] = i
			if !f.pods[s.pod].Ready || !s.isUp() && !suspected[s.pod] {
				g.broken[i] = true
				g.down = append(g.down, s.pod)
			}
		}
	}
	return g, memberOf, domainOf
}

// suspected returns the pods that PD may take for unhealthy because of severed pairs: it
// asks its members from one of them, and stores report to it.
func (f Facts) suspected(ours severed) map[string]bool {
	pods := make(map[string]bool)
	for pair := range ours {
		pods[pair.A] = pods[pair.A] || f.is(pair.B, tidbcluster.PD)
		pods[pair.B] = pods[pair.B] || f.is(pair.A, tidbcluster.PD)
	}
	return pods
}

// verdict tries every majority of PD, with what TiKV needs.
func (g graph) verdict() verdict {
	v := lostByPD
	possible := g.keepsTiKV(0) // before it is cut off from any member
	for m := range members(1) << g.size {
		if bits.OnesCount16(uint16(m)) != g.size/2+1 || !g.isTogether(m) {
			continue
		}
		if possible && g.keepsTiKV(m) {
			return kept
		}
		v = lostByTiKV
	}
	return v
}

// isTogether reports whether members are healthy and not severed from each other.
func (g graph) isTogether(m members) bool {
	for i := range g.size {
		if m.has(i) && (!g.healthy.has(i) || g.apart[i]&m != 0) {
			return false
		}
	}
	return true
}

// majorities returns the members of which each is in a majority that is healthy and
// together: one of them may lead.
func (g graph) majorities() (all members) {
	for m := range members(1) << g.size {
		if bits.OnesCount16(uint16(m)) > g.size/2 && g.isTogether(m) {
			all |= m
		}
	}
	return all
}

// mostTogether returns how many members are healthy and together at most.
func (g graph) mostTogether() (most int) {
	for m := range members(1) << g.size {
		if g.isTogether(m) {
			most = max(most, bits.OnesCount16(uint16(m)))
		}
	}
	return most
}

// keepsTiKV reports whether TiKV can do without all failure domains that are broken,
// severed from a majority of PD, or severed from one that it does not do without.
func (g graph) keepsTiKV(majority members) bool {
	left := g.losable
	lost := make([]bool, len(g.broken))
	for i := range lost {
		if lost[i] = g.broken[i] || g.from[i]&majority != 0; lost[i] {
			left--
		}
	}
	if left < 0 {
		return false
	}
	return isCovered(slices.DeleteFunc(slices.Clone(g.edges), func(e [2]int) bool { return lost[e[0]] || lost[e[1]] }), left)
}

// isCovered reports whether k vertices of a graph have an end of every edge (a vertex
// cover). It branches on the vertex with the most edges: either that is one of them, or
// all its neighbours are. So it takes at most 2^k steps, and k is at most 8.
func isCovered(edges [][2]int, k int) bool {
	if len(edges) == 0 {
		return true
	}
	neighbours := make(map[int][]int)
	for _, e := range edges {
		neighbours[e[0]] = append(neighbours[e[0]], e[1])
		neighbours[e[1]] = append(neighbours[e[1]], e[0])
	}
	busiest := edges[0][0]
	for vertex, others := range neighbours {
		if len(others) > len(neighbours[busiest]) {
			busiest = vertex
		}
	}
	if len(edges) > k*len(neighbours[busiest]) {
		return false
	}
	without := func(vertices ...int) [][2]int {
		return slices.DeleteFunc(slices.Clone(edges), func(e [2]int) bool { return slices.Contains(vertices, e[0]) || slices.Contains(vertices, e[1]) })
	}
	others := neighbours[busiest]
	return isCovered(without(busiest), k-1) || len(others) <= k && isCovered(without(others...), k-len(others))
}

// mayKeep reports whether a quorum may stay, in spite of severed pairs, once all members
// and stores are known and healthy.
func (f Facts) mayKeep(pairs severed) bool {
	isKnown := func(name tidbcluster.Component, n int) bool { return n >= int(f.component(name).replicas) }
	if !isKnown(tidbcluster.PD, len(f.members)) || !isKnown(tidbcluster.TiKV, len(f.tikv)) {
		return true
	}
	return f.unknown == "" && f.recovered().graph(pairs, nil).verdict() == kept
}

// cutOff returns the pods that may be cut off from PD's leader when pairs are severed:
// those that are severed from a member that can have a majority with it. If none can, or
// nobody knows, every member counts.
func (f Facts) cutOff(pairs severed) map[string]bool {
	var leaders map[string]bool
	if f.unknown == "" {
		leaders = f.namesOf(f.recovered().graph(pairs, nil).majorities())
	}
	leads := func(pod string) bool { return leaders[pod] || len(leaders) == 0 && f.is(pod, tidbcluster.PD) }
	pods := make(map[string]bool)
	for pair := range pairs {
		if leads(pair.A) {
			pods[pair.B] = true
		}
		if leads(pair.B) {
			pods[pair.A] = true
		}
	}
	return pods
}

// severs reports whether an effect severs a pair.
func (f Facts) severs(pair compile.Pair, e compile.Effect) bool {
	longest := severingRTT
	if f.is(pair.A, tidbcluster.PD) || f.is(pair.B, tidbcluster.PD) {
		longest = f.lease / 2
	}
	return e.Partition || e.Loss >= severingLoss || e.RTT >= longest
}

// severedBy returns the pairs that some effects sever.
func (f Facts) severedBy(effects map[compile.Pair]compile.Effect) severed {
	pairs := make(severed)
	for pair, e := range effects {
		if f.severs(pair, e) {
			pairs[pair] = true
		}
	}
	return pairs
}
