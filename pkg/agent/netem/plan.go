package netem

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tidelay/tidelay/pkg/fault"
)

// plan is how what was found becomes its target. The phases come one after the
// other, and in each of them every packet meets its old or its new fault.
type plan struct {
	// prepare adds what is missing and changes netems in place. It changes no
	// netem whose packets also get other filters; see desiredTree.assignBands.
	prepare []op
	// reroute changes the filters and redirects, and with them which fault
	// packets meet.
	reroute []op
	// remove deletes what no packet is sent to any more. The packets that wait
	// there should have left before.
	remove []op
}

func (p plan) empty() bool { return len(p.all()) == 0 }

func (p plan) all() []op { return slices.Concat(p.prepare, p.reroute, p.remove) }

// add puts another plan's changes behind those of the same phase.
func (p *plan) add(other plan) {
	p.prepare = append(p.prepare, other.prepare...)
	p.reroute = append(p.reroute, other.reroute...)
	p.remove = append(p.remove, other.remove...)
}

// plan decides how a device comes to its targets. It is empty when the device
// is as it should be. canIngress is false where the kernel has no ingress
// qdiscs.
//
// The hook is made after the trees, so that it is never there without a sign of
// whose it is. For the same reason it is deleted before them.
func (d foundDevice) plan(targets targetTrees, a applied, canIngress bool) plan {
	egress, ingress := targets[d.egress.attachPoint], targets[d.ingress.attachPoint]
	e := d.egress.plan(egress, a)
	i := d.ingress.plan(ingress, a)
	h := d.hook.plan(d, egress, ingress, canIngress)
	return plan{
		prepare: slices.Concat(e.prepare, i.prepare, h.prepare),
		reroute: slices.Concat(e.reroute, i.reroute, h.reroute),
		remove:  slices.Concat(h.remove, e.remove, i.remove),
	}
}

// plan decides how a tree comes to its target.
func (t foundTree) plan(target *targetTree, a applied) plan {
	if target == nil {
		return plan{reroute: t.filterOps(targetTree{}), remove: t.deleteTreeOps()}
	}
	return plan{
		prepare: slices.Concat(t.linkOps(), t.rootOps(), t.netemOps(target, a)),
		reroute: t.filterOps(*target),
		remove:  t.deleteNetemOps(target),
	}
}

// linkOps adds our ifb and brings it up.
func (t foundTree) linkOps() []op {
	var ops []op
	if t.direction == fault.Ingress && !t.hasIFB {
		ops = append(ops, addIFB{link: t.link, device: t.device})
	}
	if t.direction == fault.Ingress && !t.ifbIsUp {
		ops = append(ops, setUp{t.link})
	}
	return ops
}

// rootOps adds the root and the queue of its clean band. A root of ours with
// other options is changed in place, which leaves what is below it as it is.
func (t foundTree) rootOps() []op {
	var ops []op
	if !t.rootIsCurrent {
		ops = append(ops, setQdisc{
			link: t.link, kind: kindPrio, parent: parentRoot, handle: handleRoot, exclusive: !t.hasRoot, options: prioOptions(),
			tcOptions: fmt.Sprintf("bands %d priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0", bandLast),
		})
	}
	if !t.hasCleanBand {
		ops = append(ops, setQdisc{
			link: t.link, kind: kindFIFO, parent: class(bandClean), handle: handleClean, options: fifoOptions(),
			tcOptions: fmt.Sprintf("limit %d", cleanLimit),
		})
	}
	return ops
}

// netemOps adds and changes netems, with their segmenters.
func (t foundTree) netemOps(target *targetTree, a applied) []op {
	var ops []op
	for _, band := range slices.Sorted(maps.Keys(target.netems)) {
		n, found := target.netems[band], t.netems[band]
		if found != (netemQdisc{}) && !n.inPlaceOf(found) {
			ops, found = append(ops, t.deleteNetemOp(band)), netemQdisc{}
		}
		if n.burst != found.burst {
			ops = append(ops, setSegmenter{link: t.link, band: band, burst: n.burst})
		}
		if !n.agreesWith(found, a.netems[t.attachPoint][band]) {
			ops = append(ops, setNetem{link: t.link, band: band, segmented: n.burst > 0, handle: n.handle, setting: n.setting})
		}
	}
	return ops
}

// inPlaceOf reports whether a netem that was found can become this one by a change
// of its setting. The kernel moves no qdisc from one parent to another.
func (n netemQdisc) inPlaceOf(found netemQdisc) bool { return (n.burst > 0) == (found.burst > 0) }

// filterOps changes the filters of both families.
func (t foundTree) filterOps(target targetTree) []op {
	var ops []op
	for f := range families {
		ops = append(ops, replaceFilters(t.link, f, t.blocks[f], target.filters[f])...)
	}
	return ops
}

// deleteNetemOps deletes the netems that a target does not have.
func (t foundTree) deleteNetemOps(target *targetTree) []op {
	var ops []op
	for _, band := range t.bandsNotIn(target) {
		ops = append(ops, t.deleteNetemOp(band))
	}
	return ops
}

// deleteNetemOp deletes the netem of a band with its segmenter.
func (t foundTree) deleteNetemOp(band uint8) op {
	if t.netems[band].burst > 0 {
		return deleteQdisc{link: t.link, kind: kindTBF, parent: class(band), handle: segmenterHandle(band)}
	}
	return deleteQdisc{link: t.link, kind: kindNetem, parent: class(band), handle: t.netems[band].handle}
}

// deleteTreeOps deletes the whole tree.
func (t foundTree) deleteTreeOps() []op {
	switch {
	case t.hasIFB:
		return []op{deleteLink{t.link}}
	case t.hasRoot:
		return []op{deleteQdisc{link: t.link, kind: kindPrio, parent: parentRoot, handle: handleRoot}}
	default:
		return nil
	}
}

// agreesWith reports whether a netem that was found is this one, as far as the
// kernel reports it and this process knows the rest.
func (n netemQdisc) agreesWith(found netemQdisc, known unreported) bool {
	return n.sameAs(found) &&
		n.setting.sameSeed(found.setting, known) &&
		(!n.setting.hasTable() || n.setting.distribution == known.distribution)
}

// sameAs reports whether a netem that was found is this one, as far as the kernel
// reports it.
func (n netemQdisc) sameAs(found netemQdisc) bool {
	return n.handle == found.handle && n.burst == found.burst && n.setting.agreesWith(found.setting.options)
}

// sameSeed reports whether a netem that was found has the seed that is asked
// for. If none is, the seed must be the kernel's own choice.
func (s setting) sameSeed(found setting, known unreported) bool {
	if !s.seeded {
		return !known.seeded
	}
	return found.seeded && found.seed == s.seed
}
