package netem

// hook is the ingress qdisc of a device, as found, with the filters on it that
// redirect arriving packets to our ifb.
//
// Adding or deleting a root or an ingress qdisc makes the kernel drop the
// packets that wait on the way out of the interface and, for a moment, those
// that are sent (dev_deactivate in qdisc_graft, net/sched/sch_api.c). If the
// hook came with the first fault of ingress and went with the last, faults of
// egress would lose packets then, and the other way round. Therefore the egress
// root and the ingress qdisc both come with the first fault of either
// direction, empty where there is no fault, and both go with the last.
//
// An empty ingress qdisc does not show whose it is. A filter that matches no
// packet, the claim, says that it is ours. There is one on our egress root, from
// before the ingress qdisc is made, and one on the ingress qdisc itself, for when
// somebody deletes our root.
type hook struct {
	// present is set when there is an ingress qdisc and it is ours.
	present bool
	// claimed is set when the claim is on it.
	claimed bool
	// redirects are the families that are redirected to our ifb.
	redirects [families]bool
	// broken are the families that are redirected to an ifb that is gone. The
	// kernel drops their packets.
	broken [families]bool
	// occupiedBy names an ingress or clsact qdisc that is not ours; empty for
	// none. foreignInside names a filter beside our redirects; empty for none.
	occupiedBy, foreignInside string
}

// claim is the filter that says that the interface's ingress qdisc is ours. It
// matches the IP version 0, and so no packet.
func claim() filter {
	return filter{keys: keys{{offset: 0, mask: 0xf0000000, value: 0}}, band: bandClean}
}

// redirectsAll reports whether all IP packets that arrive go to our ifb.
func (h hook) redirectsAll() bool {
	return h.present && h.redirects == [families]bool{true, true}
}

// plan decides how the hook becomes what two targets of its device need.
// canIngress is false where the kernel has no ingress qdiscs.
func (h hook) plan(found foundDevice, egress, ingress *targetTree, canIngress bool) plan {
	device := found.egress.device
	needed := h.needed(found.egress, egress, ingress, canIngress)
	var p plan
	if needed && egress != nil && !found.egress.claimed {
		p.prepare = append(p.prepare, addFilter{link: device, block: claimBlock, family: ipv4, node: firstNode, filter: claim()})
	}
	if needed && !h.present {
		p.prepare = append(p.prepare, setQdisc{link: device, kind: kindIngress, parent: parentIngress, handle: handleIngress, exclusive: true})
	}
	if needed && !h.claimed {
		p.prepare = append(p.prepare, addHookClaim{device})
	}
	p.reroute = h.redirectOps(device, found.ingress.link, ingress != nil)
	if !needed && h.present {
		p.remove = append(p.remove, deleteQdisc{link: device, kind: kindIngress, parent: parentIngress, handle: handleIngress})
	}
	return p
}

// needed reports whether there should be an ingress qdisc of ours.
func (h hook) needed(found foundTree, egress, ingress *targetTree, canIngress bool) bool {
	switch {
	case ingress != nil: // its packets have to be redirected
		return true
	case egress == nil: // no fault of either direction
		return false
	case !canIngress || h.occupiedBy != "": // it can't be made, and nothing needs it yet
		return false
	case h.present || found.claimed: // made before
		return true
	default:
		// It comes with a new egress root. Where a root has been without one,
		// packets wait already that adding one would drop.
		return !found.hasRoot
	}
}

// redirectOps redirects to our ifb, or stops doing so, and mends what is broken.
func (h hook) redirectOps(device, ifb string, redirect bool) []op {
	var ops []op
	for f := range families {
		if h.broken[f] || h.redirects[f] && !redirect {
			ops = append(ops, deleteRedirect{device: device, family: f})
		}
		if redirect && !h.redirects[f] {
			ops = append(ops, addRedirect{device: device, ifb: ifb, family: f})
		}
	}
	return ops
}
