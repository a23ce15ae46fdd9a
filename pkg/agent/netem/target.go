package netem

import (
	"maps"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// targetTree is the tree that the kernel should hold at one attach point. A nil
// pointer means none.
type targetTree struct {
	netems  map[uint8]netemQdisc // by band
	filters [families][]filter   // in the order in which the kernel should try them
}

// targetTrees is by attach point.
type targetTrees map[attachPoint]*targetTree

// has reports whether there should be a tree at an attach point.
func (t targetTrees) has(p attachPoint) bool { return t[p] != nil }

// targetOf returns the target that a found tree already meets, to come back to
// it after a failure. It is nil where packets meet no fault: without a root, or
// where nothing is redirected. An interrupted change can leave several blocks;
// all their filters count, since all of them decide about packets.
func targetOf(t foundTree, a applied) *targetTree {
	if !t.hasRoot || !t.receives {
		return nil
	}
	target := &targetTree{netems: maps.Clone(t.netems)}
	for band, n := range target.netems {
		given := a.netems[t.attachPoint][band]
		n.setting.distribution, n.setting.seeded = given.distribution, given.seeded
		n.counters = api.Counters{}
		target.netems[band] = n
	}
	for f := range families {
		target.filters[f] = t.filters(f)
	}
	return target
}

// duplicatesBeside reports whether a change from a found tree to a target has,
// at some moment, a duplicating netem and another one in the same tree.
func (t foundTree) duplicatesBeside(target *targetTree) bool {
	bands, duplicates := make(map[uint8]bool), false
	add := func(netems map[uint8]netemQdisc) {
		for band, n := range netems {
			bands[band] = true
			duplicates = duplicates || n.setting.duplicate > 0
		}
	}
	add(t.netems)
	if target != nil {
		add(target.netems)
	}
	return duplicates && len(bands) > 1
}
