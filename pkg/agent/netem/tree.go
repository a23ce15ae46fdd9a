package netem

import (
	"maps"
	"slices"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// place is where a tree can stand.
type place struct {
	device    string
	direction fault.Direction // Egress or Ingress
}

// String returns "eth0 egress".
func (p place) String() string { return p.device + " " + p.direction.String() }

// filter leads what its keys match to a band.
type filter struct {
	keys keys
	band uint8
}

// block is a list of filters of one family, in the order they are tried.
type block struct {
	index   int
	filters []filter
}

// emulator is a netem that was read.
type emulator struct {
	handle   uint32
	setting  setting
	counters api.Counters
}

// given is what a netem was given that the kernel does not report, or not so
// that it can be told from a choice of its own.
type given struct {
	distribution fault.Distribution
	seeded       bool
}

// tree is what was read of one place.
type tree struct {
	place
	// link has the root: the device, or our ifb.
	link string
	// taken names what somebody else has put where our tree would be. It is no
	// obstacle to having no tree.
	taken string
	// invaded names what somebody else has put into our tree. It would go with
	// any part of the tree that goes.
	invaded string

	// root is there, and fits when it has our options.
	root, fits bool
	clean      bool
	netems     map[uint8]emulator
	// blocks of each family in the order they are tried.
	blocks [families][]block

	// marked is an egress tree with the filter of markBlock.
	marked bool
	// ifb is the link of an ingress tree.
	ifb, ifbUp bool
	// led is set when packets come to the tree: always on egress.
	led bool
}

// ours reports whether anything here is of this package's making.
func (t tree) ours() bool { return t.root || t.ifb }

// port is what was read of one device.
type port struct {
	egress, ingress tree
	hook            hook
}

func (p port) trees() []tree { return []tree{p.egress, p.ingress} }

// effective returns the filters of a family in the order they are tried.
func (t tree) effective(f family) []filter {
	var all []filter
	for _, b := range t.blocks[f] {
		all = append(all, b.filters...)
	}
	return all
}

// bands returns the bands that have a netem, in order.
func (t tree) bands() []uint8 { return slices.Sorted(maps.Keys(t.netems)) }

// spec is a tree as it should be; nil for none.
type spec struct {
	netems map[uint8]emulator // without counters
	lists  [families][]filter
}

// specOf is the spec that a tree fulfils, to come back to it. An unfinished
// change can have several blocks; what counts is what packets met, and that is
// nothing where none were redirected.
func specOf(t tree, known map[uint8]given) *spec {
	if !t.root || !t.led {
		return nil
	}
	s := &spec{netems: maps.Clone(t.netems)}
	for band, e := range s.netems {
		e.setting.distribution, e.setting.seeded = known[band].distribution, known[band].seeded
		e.counters = api.Counters{}
		s.netems[band] = e
	}
	for f := range families {
		s.lists[f] = t.effective(f)
	}
	return s
}

// mixes reports whether going from a tree to a spec has a duplicating netem
// beside another one.
func (t tree) mixes(want *spec) bool {
	bands, duplicates := make(map[uint8]bool), false
	note := func(netems map[uint8]emulator) {
		for band, e := range netems {
			bands[band] = true
			duplicates = duplicates || e.setting.duplicate > 0
		}
	}
	note(t.netems)
	if want != nil {
		note(want.netems)
	}
	return duplicates && len(bands) > 1
}

func sameFilters(a, b []filter) bool {
	return slices.EqualFunc(a, b, func(x, y filter) bool { return x.band == y.band && x.keys.equal(y.keys) })
}
