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
	// oneWay, partition, odd and rated are the objects of that kind.
	oneWay, partition, odd, rated set
	// classes is set if any object is for some packets between its pods only.
	classes bool
	// inside is a conflict of a range that has an address of the cluster; nil for none.
	inside *conflict
}

// peer is an address of a pod, or a range outside the cluster.
type peer struct {
	prefix netip.Prefix
	pod    string // empty for a range
	agent  bool
	// from and to are the objects on whose sides the pod is.
	from, to set
}

func newCompilation(objects []Object, pods []Pod) *compilation {
	c := &compilation{objects: objects}
	from, to := make(map[string]set), make(map[string]set)
	ranges := make(map[netip.Prefix]set)
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
		for kind, is := range map[*set]bool{&c.oneWay: o.OneWay, &c.partition: o.Impairment.Partition, &c.odd: o.isOdd(), &c.rated: o.Impairment.Rate != nil} {
			if is {
				kind.add(i)
			}
		}
		c.classes = c.classes || !o.isForAll()
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
			c.peers = append(c.peers, peer{prefix, pod.Name, pod.Agent, from[pod.Name], to[pod.Name]})
			if inside := covering(prefix); inside != 0 {
				i := inside.newest()
				c.inside = &conflict{i, i, fmt.Sprintf("a range has the address %s of pod %s, and is for what is outside the cluster", addr, pod.Name)}
			}
		}
	}
	for prefix := range ranges {
		c.peers = append(c.peers, peer{prefix: prefix, to: covering(prefix)})
	}
	slices.SortFunc(c.peers, func(a, b peer) int { return comparePrefixes(a.prefix, b.prefix) })
	return c
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// met are the objects that packets between a pod and a peer meet: by the peer's port
// (remote) or by the pod's own (local), for an object that has ports.
type met struct {
	remote, local set
	// isFirst is whether the packets' sender is first by name, where that matters.
	isFirst bool
}

func (m met) all() set { return m.remote | m.local }

// leaving returns the objects for packets from a to b that a's agent has.
func (c *compilation) leaving(a, b peer) met {
	return c.withOrder(met{remote: a.from & b.to, local: a.to & b.from &^ c.oneWay}, a, b)
}

// arriving returns the objects for packets from b to a that a's agent has. If b has an
// agent too, that one has them, and a's has partitions.
func (c *compilation) arriving(a, b peer) met {
	m := met{local: b.from & a.to, remote: b.to & a.from &^ c.oneWay}
	if b.agent {
		m.local, m.remote = m.local&c.partition, m.remote&c.partition
	}
	return c.withOrder(m, b, a)
}

// withOrder notes which of sender and receiver is first by name, if any object cares. A
// pod is before a range.
func (c *compilation) withOrder(m met, sender, receiver peer) met {
	m.isFirst = m.all()&c.odd != 0 && sender.pod != "" && (receiver.pod == "" || sender.pod < receiver.pod)
	return m
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
		drafts.add(g, c.cells(g.met))
	}
	if found := c.checkRates(drafts); found != nil {
		return nil, found
	}
	faults := make([]Fault, 0, len(drafts.all))
	for _, d := range drafts.all {
		impairment, found := c.combine(d.objects, d.isFirst)
		if found != nil {
			return nil, found
		}
		if impairment.IsZero() {
			continue // half of one microsecond
		}
		faults = append(faults, c.split(d, impairment)...)
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

// checkRates refuses a rate whose packets would be in several faults, since each fault
// has a link of its own.
func (c *compilation) checkRates(d drafts) *conflict {
	var found *conflict
	(d.objects() & c.rated).each(func(i int) bool {
		for _, direction := range []fault.Direction{fault.Egress, fault.Ingress} {
			var with []draft
			for _, one := range d.all {
				if one.direction == direction && one.objects.has(i) && one.objects&c.partition == 0 {
					with = append(with, one)
				}
			}
			if len(with) == 0 || len(with) == 1 && len(with[0].peers) <= maxPeers {
				continue
			}
			found = &conflict{i, i, "a rate is one link, and the packets of this fault would need several"}
			common, any := with[0].objects, set(0)
			for _, one := range with {
				common, any = common&one.objects, any|one.objects
			}
			if splitting := any &^ common; splitting != 0 {
				other := splitting.newest()
				found = &conflict{max(i, other), min(i, other), "one of them has a rate, which is one link for all of its packets, and the other is for some of these packets only"}
			}
			return false
		}
		return true
	})
	return found
}
