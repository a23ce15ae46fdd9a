package netem

import (
	"cmp"
	"slices"
)

// hook is the ingress qdisc of a device, and what on it leads arriving packets
// to our ifb.
//
// Adding a root or an ingress qdisc to an interface, and taking it away, makes
// the kernel drop what waits on the way out and, for a moment, what is sent
// (dev_deactivate in qdisc_graft, net/sched/sch_api.c). Faults that stay would
// lose packets when the first fault of another direction comes and when the
// last one goes. Therefore both come with the first fault of any direction,
// empty where none is for theirs, and go with the last. A filter on our root
// says that the ingress qdisc is ours.
type hook struct {
	// present is an ingress qdisc of ours.
	present bool
	// redirects are the filters on it, by family.
	redirects [families]bool
	// broken are redirects whose ifb is gone. The kernel drops what they meet.
	broken [families]bool
	// taken names an ingress or clsact qdisc of somebody else's, or what is on
	// ours; invaded what is beside our redirects.
	taken, invaded string
}

// mark is what the filter of markBlock matches: a version of IP that there is
// not. It leads to the clean band, as no filter at all does.
func mark() filter {
	return filter{keys: keys{{offset: 0, mask: 0xf0000000, value: 0}}, band: bandClean}
}

// leads reports whether all that arrives is redirected.
func (h hook) leads() bool {
	return h.present && h.redirects == [families]bool{true, true}
}

// plan decides the steps from a device's hook to the one that its trees need.
// Able is false where the kernel has no ingress qdiscs.
func (h hook) plan(now port, egress, ingress *spec, able bool) steps {
	var s steps
	device := now.egress.device
	// An egress tree without one, as of an earlier release, is left without:
	// packets wait there already.
	early := egress != nil && able && h.taken == "" && (h.present || now.egress.marked || !now.egress.root)
	wanted := ingress != nil || early
	if egress != nil && wanted && !now.egress.marked {
		s.build = append(s.build, addFilter{link: device, block: markBlock, family: ipv4, node: firstNode, filter: mark()})
	}
	if wanted && !h.present {
		s.build = append(s.build, setQdisc{link: device, kind: kindIngress, parent: parentIngress, handle: handleIngress, fresh: true})
	}
	s.lead = h.redirectOps(device, now.ingress.link, ingress != nil)
	if h.present && !wanted {
		s.remove = append(s.remove, deleteQdisc{link: device, kind: kindIngress, parent: parentIngress, handle: handleIngress})
	}
	return s
}

// redirectOps leads what arrives to our ifb, or does not any more.
func (h hook) redirectOps(device, ifb string, wanted bool) []op {
	var ops []op
	for f := range families {
		if h.broken[f] || h.redirects[f] && !wanted {
			ops = append(ops, deleteRedirect{device: device, family: f})
		}
		if wanted && !h.redirects[f] {
			ops = append(ops, addRedirect{device: device, ifb: ifb, family: f})
		}
	}
	return ops
}

// plan decides the steps from what a device has to two specs. The hook comes
// after the trees, when there is something to show whose it is, and goes before
// them.
func (p port) plan(targets map[place]*spec, known map[place]map[uint8]given, able bool) steps {
	out, in := targets[p.egress.place], targets[p.ingress.place]
	e, i, h := p.egress.plan(out, known[p.egress.place]), p.ingress.plan(in, known[p.ingress.place]), p.hook.plan(p, out, in, able)
	return steps{
		build:  slices.Concat(e.build, i.build, h.build),
		lead:   slices.Concat(e.lead, i.lead, h.lead),
		remove: slices.Concat(h.remove, e.remove, i.remove),
	}
}

// foreign returns an error when somebody else is in the way of changing
// anything here. Wanted says whether there will be a tree at a place.
func (p port) foreign(wanted func(place) bool) error {
	ingress := p.ingress
	ingress.taken, ingress.invaded = cmp.Or(ingress.taken, p.hook.taken), cmp.Or(ingress.invaded, p.hook.invaded)
	for _, t := range []tree{p.egress, ingress} {
		if err := t.foreign(wanted(t.place)); err != nil {
			return err
		}
	}
	return nil
}
