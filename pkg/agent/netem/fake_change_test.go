package netem

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// changeHook makes changes of the ingress qdisc. Adding and deleting one drops
// packets on their way out.
func (k *fakeKernel) changeHook(o op) error {
	switch o := o.(type) {
	case setQdisc:
		if o.kind == kindIngress {
			if k.hook.occupiedBy != "" || k.hook.present {
				return fault.ErrForeign
			}
			if !k.trees[ingress].hasIFB && !k.trees[egress].claimed {
				k.t.Errorf("%s without a sign of whose it is", o)
			}
			k.hook.present = true
			k.reset(o)
		}
	case deleteQdisc:
		if o.kind == kindIngress {
			k.hook = hook{}
			k.reset(o)
		}
	case addHookClaim:
		if !k.hook.present || k.hook.claimed {
			return unix.EINVAL
		}
		k.hook.claimed = true
	case addRedirect:
		if !k.hook.present || !k.trees[ingress].hasIFB || k.hook.broken[o.family] || k.hook.redirects[o.family] {
			return unix.EINVAL
		}
		k.hook.redirects[o.family] = true
	case deleteRedirect:
		if !k.hook.redirects[o.family] && !k.hook.broken[o.family] {
			return unix.ENOENT
		}
		k.hook.redirects[o.family], k.hook.broken[o.family] = false, false
	}
	return nil
}

// reset reports a change that drops packets, if there are faults.
func (k *fakeKernel) reset(o op) {
	if k.onReset == nil {
		return
	}
	for _, t := range k.trees {
		k.readBlocks(t)
		for _, one := range slices.Concat(t.filters(ipv4), t.filters(ipv6)) {
			if one.band != bandClean {
				k.onReset(o)
				return
			}
		}
	}
}

// changeTree makes changes of a tree.
func (k *fakeKernel) changeTree(t *foundTree, o op) error {
	switch o := o.(type) {
	case setQdisc:
		return k.setQdisc(t, o)
	case setNetem:
		return k.setNetem(t, o)
	case setSegmenter:
		return k.setSegmenter(t, o)
	case deleteQdisc:
		return k.deleteQdisc(t, o)
	case addFilter:
		if o.link != t.link {
			return nil
		}
		return k.addFilter(t, o)
	case addTable, addLink, deleteTable, deleteBlock:
		return k.changeBlocks(t, o)
	case addIFB:
		if o.link == t.link {
			t.hasIFB = true
		}
	case setUp:
		if o.link == t.link {
			t.ifbIsUp = true
		}
	case deleteLink:
		if o.link == t.link {
			*t = foundTree{attachPoint: t.attachPoint, link: t.link, mtu: t.mtu, netems: make(map[uint8]netemQdisc)}
			k.filters[t.attachPoint], k.stale[t.attachPoint] = nil, true
			for f := range families {
				k.hook.broken[f], k.hook.redirects[f] = k.hook.broken[f] || k.hook.redirects[f], false
			}
		}
	}
	return nil
}

func (k *fakeKernel) setQdisc(t *foundTree, o setQdisc) error {
	if o.link != t.link || o.kind == kindIngress {
		return nil
	}
	switch {
	case t.direction == fault.Ingress && !t.hasIFB:
		return unix.ENODEV
	case o.kind == kindPrio && t.occupiedBy != "":
		return fault.ErrForeign
	case o.kind == kindPrio:
		if t.direction == fault.Egress && !t.hasRoot {
			k.reset(o)
		}
		if !t.hasRoot {
			k.filters[t.attachPoint], k.stale[t.attachPoint] = nil, true
		}
		t.hasRoot, t.rootIsCurrent = true, true
	case o.kind == kindFIFO:
		t.hasCleanBand = true
	default:
		k.t.Errorf("%s of an unknown kind", o)
	}
	return nil
}

// setNetem adds or changes a netem. The table of delays stays if there is no
// other.
func (k *fakeKernel) setNetem(t *foundTree, o setNetem) error {
	if o.link != t.link {
		return nil
	}
	if !t.hasRoot {
		return unix.ENOENT
	}
	reported, err := decode(o.setting.encode())
	if err != nil {
		return err
	}
	reported.distribution = t.netems[o.band].setting.distribution
	if o.setting.hasTable() {
		reported.distribution = o.setting.distribution
	}
	next := foundTree{netems: map[uint8]netemQdisc{o.band: {setting: reported}}}
	if k.refusesDuplicateBeside && next.duplicatesBeside(&targetTree{netems: without(t.netems, o.band)}) {
		return unix.EINVAL
	}
	burst := t.netems[o.band].burst
	if o.segmented != (burst > 0) {
		k.t.Errorf("%s below a segmenter with a burst of %d", o, burst)
	}
	t.netems[o.band] = netemQdisc{handle: o.handle, setting: reported, burst: burst}
	return nil
}

// setSegmenter adds or changes a segmenter.
func (k *fakeKernel) setSegmenter(t *foundTree, o setSegmenter) error {
	if o.link != t.link {
		return nil
	}
	n, there := t.netems[o.band]
	if there && n.burst == 0 {
		k.t.Errorf("%s in place of a netem", o)
	}
	burst, err := decodeSegmenter(o.encode())
	if err != nil || burst < 1500 {
		k.t.Errorf("%s is reported as %d, %v", o, burst, err)
	}
	n.burst = burst
	t.netems[o.band] = n
	return nil
}

func without(netems map[uint8]netemQdisc, band uint8) map[uint8]netemQdisc {
	rest := maps.Clone(netems)
	delete(rest, band)
	return rest
}

func (k *fakeKernel) deleteQdisc(t *foundTree, o deleteQdisc) error {
	switch {
	case o.link != t.link:
	case o.kind == kindPrio:
		k.reset(o)
		*t = foundTree{attachPoint: t.attachPoint, link: t.link, mtu: t.mtu, netems: make(map[uint8]netemQdisc), receives: true}
		k.filters[t.attachPoint], k.stale[t.attachPoint] = nil, true
	case o.kind == kindNetem || o.kind == kindTBF:
		band := uint8(o.parent)
		if o != t.deleteNetemOp(band) {
			return unix.ENOENT
		}
		k.readBlocks(t)
		for f := range families {
			if slices.ContainsFunc(t.filters(f), func(one filter) bool { return one.band == band }) {
				k.t.Errorf("%s while packets are sent to it", o)
			}
		}
		delete(t.netems, band)
	}
	return nil
}
