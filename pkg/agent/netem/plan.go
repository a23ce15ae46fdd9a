package netem

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tidelay/tidelay/pkg/fault"
)

// steps is how a tree becomes what a spec says. While they are taken, every
// packet meets its fault of before or its fault of after: build touches no
// netem whose packets also change their way (see wanted.assign), lead changes
// the ways, and only what nothing is led to any more is removed.
type steps struct {
	build, lead []op
	// remove takes away netems whose packets should leave before.
	remove []op
}

func (s steps) empty() bool { return len(s.build)+len(s.lead)+len(s.remove) == 0 }

// plan decides the steps from a tree to a spec. It is empty when the tree is
// as it should be.
func (t tree) plan(want *spec, known map[uint8]given) steps {
	if want == nil {
		return t.planNone()
	}
	var s steps
	if t.direction == fault.Ingress && !t.ifb {
		s.build = append(s.build, addIFB{link: t.link, device: t.device})
	}
	if t.direction == fault.Ingress && !t.ifbUp {
		s.build = append(s.build, setUp{t.link})
	}
	if !t.fits {
		s.build = append(s.build, t.rootOp())
	}
	if !t.clean {
		s.build = append(s.build, setQdisc{
			link: t.link, kind: kindFIFO, parent: class(bandClean), handle: handleClean,
			options: fifoOptions(), words: fmt.Sprintf("limit %d", cleanLimit),
		})
	}
	for _, band := range slices.Sorted(maps.Keys(want.netems)) {
		if e := want.netems[band]; !e.heldBy(t.netems[band], known[band]) {
			s.build = append(s.build, e.op(t.link, band))
		}
	}
	for f := range families {
		s.lead = append(s.lead, leadOps(t.link, f, t.blocks[f], want.lists[f])...)
	}
	for _, band := range t.dying(want) {
		s.remove = append(s.remove, deleteQdisc{link: t.link, kind: kindNetem, parent: class(band), handle: t.netems[band].handle})
	}
	return s
}

// dying returns the bands that a spec has no use for any more.
func (t tree) dying(want *spec) []uint8 {
	return slices.DeleteFunc(t.bands(), func(band uint8) bool {
		if want == nil {
			return false
		}
		_, wanted := want.netems[band]
		return wanted
	})
}

// planNone decides how a tree goes away.
func (t tree) planNone() steps {
	var s steps
	for f := range families {
		s.lead = append(s.lead, leadOps(t.link, f, t.blocks[f], nil)...)
	}
	switch {
	case t.ifb:
		s.remove = append(s.remove, deleteLink{t.link})
	case t.root:
		s.remove = append(s.remove, deleteQdisc{link: t.link, kind: kindPrio, parent: parentRoot, handle: handleRoot})
	}
	return s
}

// rootOp makes the root, or gives one of an earlier release all its bands,
// which leaves what is below it as it is.
func (t tree) rootOp() op {
	return setQdisc{
		link: t.link, kind: kindPrio, parent: parentRoot, handle: handleRoot, fresh: !t.root, options: prioOptions(),
		words: fmt.Sprintf("bands %d priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0", bandLast),
	}
}

// heldBy reports whether a netem that was read is what is wanted, as far as
// the kernel and what we know to have given it tell.
func (e emulator) heldBy(got emulator, known given) bool {
	s := e.setting
	switch {
	case e.handle != got.handle || !s.heldBy(got.setting.options):
		return false
	case s.seeded && (!got.setting.seeded || got.setting.seed != s.seed), !s.seeded && known.seeded:
		return false
	default:
		return s.jitter == 0 || s.distribution == "" || s.distribution == known.distribution
	}
}

func (e emulator) op(link string, band uint8) op {
	return setQdisc{link: link, kind: kindNetem, parent: class(band), handle: e.handle, options: e.setting.encode(), words: e.setting.String(), netem: e.setting}
}

// leadOps brings one family's filters from the blocks that are there to one
// list. Let old be the filters of all blocks in their order, new the list.
//
// Built before old, the first filter in order first: a packet meets the first
// filter of new that matches it if that is already there, and otherwise what
// it met in old. Built behind old: a packet meets what it met in old; only one
// that matches nothing there meets what it meets in new, or still nothing. Old
// then goes from its last block to its first, each in one request: what is
// left of it leads where old did, and all other packets meet new. So at no
// time does a packet meet anything but its fault of old or that of new.
//
// Agents that were killed in the middle can leave blocks at both ends. Only
// then is there no room, and the last block goes first.
func leadOps(link string, f family, old []block, list []filter) []op {
	var ops []op
	target := slices.IndexFunc(old, func(b block) bool { return sameFilters(b.filters, list) })
	index := -1 // of the block that stays
	switch {
	case target >= 0:
		index = old[target].index
	case len(list) > 0:
		for len(old) > 0 && old[0].index == 0 && old[len(old)-1].index == blocks-1 {
			ops = append(ops, deleteBlock{link: link, block: old[len(old)-1].index, family: f})
			old = old[:len(old)-1]
		}
		index = freeBlock(old)
		for i, one := range list {
			ops = append(ops, addFilter{link: link, block: index, family: f, node: firstNode + uint32(i), filter: one})
		}
	}
	for _, b := range slices.Backward(old) {
		if b.index != index {
			ops = append(ops, deleteBlock{link: link, block: b.index, family: f})
		}
	}
	return ops
}

// freeBlock is one before or, without room there, behind those in use.
func freeBlock(used []block) int {
	switch {
	case len(used) == 0:
		return 0
	case used[0].index > 0:
		return used[0].index - 1
	default:
		return used[len(used)-1].index + 1
	}
}
