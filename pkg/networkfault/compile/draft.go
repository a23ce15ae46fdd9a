package compile

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// draft is a fault of a pod before its impairment is known.
type draft struct {
	direction       fault.Direction
	protocol        string
	remotes, locals []api.PortRange
	objects         set
	passage
	peers []netip.Prefix
}

// drafts are those of one pod.
type drafts struct{ all []draft }

// objects returns all objects of the drafts.
func (d *drafts) objects() (all set) {
	for _, one := range d.all {
		all |= one.objects
	}
	return all
}

// sort puts those of which the sender is first by name behind the others.
func (d *drafts) sort() {
	slices.SortStableFunc(d.all, func(a, b draft) int {
		switch {
		case a.isFirst == b.isFirst:
			return 0
		case b.isFirst:
			return -1
		default:
			return 1
		}
	})
}

// draftsOf returns those of the packets of a group. Packets that meet the same objects are
// one draft where a fault can match them together: by their remote ports, and then by
// their local ports.
func (c *compilation) draftsOf(g group) []draft {
	var all []draft
	for _, one := range c.cells(g.met) {
		p := g.met.passage
		p.isFirst = p.isFirst && c.oddOf(one.objects, p.link) != 0
		all = append(all, draft{
			direction: g.direction, protocol: one.protocol, remotes: portsOf(one.remote), locals: portsOf(one.local),
			objects: one.objects, passage: p, peers: g.peers,
		})
	}
	all = mergePorts(all, func(d *draft) (merged, other *[]api.PortRange) { return &d.remotes, &d.locals })
	return mergePorts(all, func(d *draft) (merged, other *[]api.PortRange) { return &d.locals, &d.remotes })
}

// add adds the drafts of a group. Those that differ in their peers only become one.
func (d *drafts) add(group []draft) {
	for _, one := range group {
		i := slices.IndexFunc(d.all, func(other draft) bool {
			return one.isLike(other) && slices.Equal(one.remotes, other.remotes) && slices.Equal(one.locals, other.locals)
		})
		if i >= 0 {
			d.all[i].peers = append(slices.Clip(d.all[i].peers), one.peers...)
		} else {
			d.all = append(d.all, one)
		}
	}
}

// mergePorts makes one draft of those that differ in the ports of one side only. Where a
// side has no ports, that means all of them, and is never merged.
func mergePorts(all []draft, sides func(*draft) (merged, other *[]api.PortRange)) []draft {
	var merged []draft
	for _, one := range all {
		ports, others := sides(&one)
		i := slices.IndexFunc(merged, func(other draft) bool {
			have, same := sides(&other)
			return len(*ports) > 0 && len(*have) > 0 && len(*have) < maxPorts && slices.Equal(*others, *same) && one.isLike(other)
		})
		if i < 0 {
			merged = append(merged, one)
			continue
		}
		have, _ := sides(&merged[i])
		*have = append(*have, *ports...)
	}
	return merged
}

// isLike reports whether two drafts differ in their ports and peers only.
func (d draft) isLike(other draft) bool {
	return d.direction == other.direction && d.protocol == other.protocol && d.objects == other.objects && d.passage == other.passage
}

// maxPorts is how many ports and ranges a fault has on a side at most.
const maxPorts = 16

func portsOf(r api.PortRange) []api.PortRange {
	if r == (api.PortRange{}) {
		return nil
	}
	return []api.PortRange{r}
}

// split returns the faults of a draft, which are several if it has too many peers. parts
// has how many faults there are already of each class.
func (c *compilation) split(d draft, impairment fault.Impairment, parts map[string]int) []Fault {
	var names, cuts []string
	d.objects.each(func(i int) bool {
		names = append(names, c.objects[i].Name)
		if impairment.IsCut() && c.impairment(i, d.passage).IsCut() {
			cuts = append(cuts, c.objects[i].Name)
		}
		return true
	})
	slices.SortFunc(d.peers, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	class := d.class(names)
	var all []Fault
	for part := range slices.Chunk(d.peers, maxPeers) {
		f := Fault{Objects: names, Cuts: cuts}
		f.Match = fault.Match{Direction: d.direction, Peers: part, Protocol: d.protocol, RemotePorts: Joined(d.remotes), LocalPorts: Joined(d.locals)}
		f.Impairment = impairment
		f.Name = name(names, class, parts[class])
		parts[class]++
		all = append(all, f)
	}
	return all
}

// Joined returns ports sorted, and those that touch or overlap as one range.
func Joined(ports []api.PortRange) []api.PortRange {
	sorted := slices.Clone(ports)
	slices.SortFunc(sorted, func(a, b api.PortRange) int { return cmp.Compare(a.First, b.First) })
	var all []api.PortRange
	for _, p := range sorted {
		if last := len(all) - 1; last >= 0 && int(p.First) <= int(all[last].Last)+1 {
			all[last].Last = max(all[last].Last, p.Last)
		} else {
			all = append(all, p)
		}
	}
	return all
}

// class says which packets a draft is for, but for their addresses: by the objects, in any
// order, the ports and the other side's zone. The own zone is left out, so that a pod that
// moves keeps its faults.
func (d draft) class(objects []string) string {
	var zone string
	switch {
	case d.link == nil:
	case d.direction == fault.Egress:
		zone = d.link.To
	default:
		zone = d.link.From
	}
	return fmt.Sprintf("%q %s %s %v %v %q", slices.Sorted(slices.Values(objects)), d.direction, d.protocol, d.remotes, d.locals, zone)
}

// name returns the name of a fault. It depends on the class of its packets, and on which
// part of them it has. It does not depend on what happens to them: that changes in place.
func name(objects []string, class string, part int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", class, part))
	first := strings.ReplaceAll(slices.Min(objects), "/", ".")
	return strings.Trim(first[:min(len(first), 40)], "-.") + "." + hex.EncodeToString(sum[:5])
}

// mergeDirections makes one fault of two that differ in the direction only, where that
// is the same for the packets: a link of a rate, and random choices, are of one
// direction.
func mergeDirections(faults []Fault) []Fault {
	var all []Fault
	for _, f := range faults {
		twin := func(other Fault) bool {
			return other.Match.Direction == fault.Egress && f.Match.Direction == fault.Ingress && f.Impairment.Partition &&
				slices.Equal(other.Objects, f.Objects) && slices.Equal(other.Match.Peers, f.Match.Peers) && other.Match.Protocol == f.Match.Protocol &&
				slices.Equal(other.Match.RemotePorts, f.Match.RemotePorts) && slices.Equal(other.Match.LocalPorts, f.Match.LocalPorts) &&
				reflect.DeepEqual(other.Impairment, f.Impairment)
		}
		if i := slices.IndexFunc(all, twin); i >= 0 {
			all[i].Match.Direction = fault.Both
			continue
		}
		all = append(all, f)
	}
	return all
}
