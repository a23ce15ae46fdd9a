package compile

import (
	"cmp"
	"slices"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// cell is a class of packets with the objects that they meet. A cell that is more
// precise, by the order of fault.Rules, takes its packets away from the others.
type cell struct {
	protocol      string // empty for any
	remote, local api.PortRange
	objects       set
}

// matches reports whether all packets of a cell are meant by an object, given by which
// sides' ports it goes.
func (o *Object) matches(c cell, byRemote, byLocal bool) bool {
	inPorts := func(r api.PortRange) bool {
		return r != (api.PortRange{}) && slices.ContainsFunc(o.Ports, func(p api.PortRange) bool { return p.First <= r.First && r.Last <= p.Last })
	}
	hasPorts := c.protocol == fault.ProtocolTCP || c.protocol == fault.ProtocolUDP
	switch {
	case o.Protocol != "" && o.Protocol != c.protocol:
		return false
	case len(o.Ports) == 0:
		return true
	default:
		return hasPorts && (byRemote && inPorts(c.remote) || byLocal && inPorts(c.local))
	}
}

// cells returns the classes of packets that meet some objects, so that each packet meets
// just the objects that mean it.
func (c *compilation) cells(m met) []cell {
	if !c.classes {
		return []cell{{objects: m.all()}}
	}
	with := func(one cell) cell {
		m.all().each(func(i int) bool {
			if c.objects[i].matches(one, m.remote.has(i), m.local.has(i)) {
				one.objects.add(i)
			}
			return true
		})
		return one
	}
	var cells []cell
	// emit adds a cell unless its packets meet the same objects without it.
	emit := func(one cell, without set) set {
		if one.objects != without {
			cells = append(cells, one)
		}
		return one.objects
	}
	base := emit(with(cell{}), 0)
	emit(with(cell{protocol: fault.ProtocolICMP}), base)
	for _, protocol := range []string{fault.ProtocolTCP, fault.ProtocolUDP} {
		plain := emit(with(cell{protocol: protocol}), base)
		remotes, locals := c.ranges(m.remote, protocol), c.ranges(m.local, protocol)
		for _, local := range locals {
			emit(with(cell{protocol: protocol, local: local}), plain)
		}
		for _, remote := range remotes {
			ofRemote := emit(with(cell{protocol: protocol, remote: remote}), plain)
			for _, local := range locals {
				both := with(cell{protocol: protocol, remote: remote, local: local})
				// Without it, its packets meet the cell of the remote port, whose range is
				// narrower than any, or that of the local port if there is no such cell.
				without := ofRemote
				if ofRemote == plain {
					without = with(cell{protocol: protocol, local: local}).objects
				}
				emit(both, without)
			}
		}
	}
	return merged(cells)
}

// ranges cuts all ports of some objects into ranges, of which every object has all ports
// or none.
func (c *compilation) ranges(objects set, protocol string) []api.PortRange {
	var cuts []int
	var ports []api.PortRange
	objects.each(func(i int) bool {
		if o := &c.objects[i]; o.Protocol == "" || o.Protocol == protocol {
			for _, p := range o.Ports {
				ports = append(ports, p)
				cuts = append(cuts, int(p.First), int(p.Last)+1)
			}
		}
		return true
	})
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var ranges []api.PortRange
	for i := 0; i+1 < len(cuts); i++ {
		r := api.PortRange{First: uint16(cuts[i]), Last: uint16(cuts[i+1] - 1)} //nolint:gosec // they are ports
		if slices.ContainsFunc(ports, func(p api.PortRange) bool { return p.First <= r.First && r.Last <= p.Last }) {
			ranges = append(ranges, r)
		}
	}
	return ranges
}

// merged makes one cell of two that differ in the protocol only, if they have ports:
// those are the ports of TCP and of UDP.
func merged(cells []cell) []cell {
	var all []cell
	for _, one := range cells {
		hasPorts := one.remote != (api.PortRange{}) || one.local != (api.PortRange{})
		twin := func(other cell) bool {
			other.protocol = one.protocol
			return other == one
		}
		if i := slices.IndexFunc(all, twin); hasPorts && one.protocol == fault.ProtocolUDP && i >= 0 {
			all[i].protocol = ""
			continue
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b cell) int {
		return cmp.Or(cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.remote.First, b.remote.First), cmp.Compare(a.local.First, b.local.First))
	})
	return all
}
