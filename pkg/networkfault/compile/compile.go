package compile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/fault"
)

// MaxFaults is how many faults of a pod are used. The others are for people, who set
// them by hand.
const MaxFaults = 12

// maxPeers is how many peers a fault has at most.
const maxPeers = 512

// Plan is what a list of objects comes to.
type Plan struct {
	// Faults are those of each pod with an agent, by name; empty and not missing for a
	// pod that is to have none. They have no owner and no end.
	Faults map[string][]Fault
	// Refused are the objects that are not in force, by name.
	Refused []Refusal
}

// Fault is a fault of one pod, and the objects that it comes from.
type Fault struct {
	fault.Fault
	// Objects are their names, the oldest first.
	Objects []string
	// Cuts are those of the Objects that let nothing through, so that the others don't show; nil
	// for none.
	Cuts []string
}

// Compile returns the faults of each pod. Of objects that can't be combined the newer
// one is refused. It changes none of its arguments.
func Compile(objects []Object, pods []Pod) Plan {
	var refused []Refusal
	sorted := byAge(objects)
	if len(sorted) > MaxObjects {
		for _, o := range sorted[MaxObjects:] {
			refused = append(refused, Refusal{Object: o.Name, Problem: fmt.Sprintf("there are %d already, and no more are possible", MaxObjects)})
		}
		sorted = sorted[:MaxObjects]
	}
	faults, found := newCompilation(sorted, pods).faults()
	if found != nil {
		var accepted []Object
		faults, _ = newCompilation(accepted, pods).faults() // nothing has no conflict
		for _, o := range sorted {
			next := newCompilation(append(slices.Clone(accepted), o), pods)
			if with, found := next.faults(); found == nil {
				faults, accepted = with, append(accepted, o)
			} else {
				refused = append(refused, next.refusal(*found))
			}
		}
	}
	slices.SortFunc(refused, func(a, b Refusal) int { return cmp.Compare(a.Object, b.Object) })
	return Plan{Faults: faults, Refused: refused}
}

// refusal refuses the newest object for a conflict that is not there without it.
func (c *compilation) refusal(found conflict) Refusal {
	last := len(c.objects) - 1
	r := Refusal{Object: c.objects[last].Name, Problem: found.problem}
	for _, i := range []int{found.older, found.newer} {
		if i != last {
			r.With = c.objects[i].Name
		}
	}
	return r
}

// compilation is what some objects mean for some pods.
type compilation struct {
	objects []Object // by age
	peers   []peer   // by address
	// oneWay, partition and odd are the faults of that kind, rated are the objects that may
	// have a rate, and ground is the topology.
	oneWay, partition, odd, rated, ground set
	// classes is set if any object is for some packets between its pods only.
	classes bool
	// inside is a conflict of a range that has an address of the cluster; nil for none.
	inside *conflict
}

func newCompilation(objects []Object, pods []Pod) *compilation {
	c := &compilation{objects: objects}
	from, to := make(map[string]set), make(map[string]set)
	ranges := make(map[netip.Prefix]set)
	var zones map[string]*zone
	for i, o := range objects {
		for _, side := range []struct {
			names []string
			sets  map[string]set
		}{{o.From, from}, {o.To, to}} {
			for _, name := range side.names {
				side.sets[name] |= 1 << i
			}
		}
		for _, prefix := range o.CIDRs {
			ranges[prefix] |= 1 << i
		}
		c.addKinds(i, o)
		if o.Topology != nil {
			zones = o.Topology.zonesOfPods()
		}
	}
	// covering returns the objects of which a range has all of a prefix.
	covering := func(prefix netip.Prefix) (objects set) {
		for r, of := range ranges {
			if r.Bits() <= prefix.Bits() && r.Contains(prefix.Addr()) {
				objects |= of
			}
		}
		return objects
	}
	for _, pod := range pods {
		for _, addr := range pod.Addrs {
			prefix := netip.PrefixFrom(addr, addr.BitLen())
			c.peers = append(c.peers, peer{prefix, pod.Name, pod.Agent, from[pod.Name], to[pod.Name], zones[pod.Name]})
		}
	}
	for prefix := range ranges {
		c.peers = append(c.peers, peer{prefix: prefix, to: covering(prefix)})
	}
	slices.SortFunc(c.peers, func(a, b peer) int {
		return cmp.Or(comparePrefixes(a.prefix, b.prefix), strings.Compare(a.pod, b.pod))
	})
	c.inside = c.podInside(covering)
	return c
}

// podInside returns the conflict of the first pod by address that is inside a range; nil for
// none.
func (c *compilation) podInside(covering func(netip.Prefix) set) *conflict {
	for _, p := range c.peers {
		if p.pod == "" {
			continue
		}
		if inside := covering(p.prefix); inside != 0 {
			i := inside.newest()
			return &conflict{i, i, fmt.Sprintf("a range has the address %s of pod %s, and is for what is outside the cluster", p.prefix.Addr(), p.pod)}
		}
	}
	return nil
}

// addKinds notes what kind of object one is.
func (c *compilation) addKinds(i int, o Object) {
	for kind, is := range map[*set]bool{
		&c.oneWay: o.OneWay, &c.partition: o.Impairment.Partition, &c.odd: o.RoundTrip && IsOdd(o.Impairment),
		&c.rated: o.Impairment.Rate != nil || o.Topology != nil, &c.ground: o.Topology != nil,
	} {
		if is {
			kind.add(i)
		}
	}
	c.classes = c.classes || !o.isForAll()
}

// faults returns the faults of every pod with an agent, or what can't be combined.
func (c *compilation) faults() (map[string][]Fault, *conflict) {
	if c.inside != nil {
		return nil, c.inside
	}
	all := make(map[string][]Fault)
	for _, own := range c.peers {
		if own.pod == "" || !own.agent || all[own.pod] != nil {
			continue
		}
		faults, found := c.faultsOf(own)
		if found != nil {
			return nil, found
		}
		all[own.pod] = faults
	}
	return all, nil
}

// faultsOf returns the faults of one pod.
func (c *compilation) faultsOf(own peer) ([]Fault, *conflict) {
	var drafts drafts
	for _, g := range c.groups(own) {
		drafts.add(c.draftsOf(g))
	}
	if found := c.checkRates(drafts); found != nil {
		return nil, found
	}
	drafts.sort()
	faults, parts := make([]Fault, 0, len(drafts.all)), make(map[string]int)
	for _, d := range drafts.all {
		impairment, found := c.combine(d.objects, d.passage)
		if found != nil {
			return nil, found
		}
		if impairment.IsZero() {
			continue // half of one microsecond
		}
		faults = append(faults, c.split(d, impairment, parts)...)
	}
	faults = mergeDirections(faults)
	if len(faults) > MaxFaults {
		newest := drafts.objects().newest()
		older := newest
		if rest := drafts.objects() &^ (1 << newest); rest != 0 {
			older = rest.newest()
		}
		return nil, &conflict{newest, older, fmt.Sprintf("pod %s would need %d faults, and %d are possible", own.pod, len(faults), MaxFaults)}
	}
	slices.SortFunc(faults, func(a, b Fault) int { return strings.Compare(a.Name, b.Name) })
	return faults, nil
}
