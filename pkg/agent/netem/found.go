package netem

import (
	"maps"
	"slices"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// attachPoint is where a tree can be: one direction of one device.
type attachPoint struct {
	device    string
	direction fault.Direction // Egress or Ingress
}

// String returns "eth0 egress".
func (p attachPoint) String() string { return p.device + " " + p.direction.String() }

// filter sends packets that match its keys to a band. Packets take the first
// filter that matches.
type filter struct {
	keys keys
	band uint8
}

// block is a list of filters of one family and one priority, in the order in
// which the kernel tries them.
type block struct {
	index   int
	filters []filter
	// tables are the numbers of its hash tables. Those that nothing leads to are
	// unlinked; they are left of an earlier block.
	tables, unlinked []uint32
}

// netemQdisc is one netem: of a target, or found in the kernel.
type netemQdisc struct {
	handle  uint32
	setting setting
	// burst is that of the segmenter above it, in bytes; 0 if there is none. One
	// that was found without a netem has the handle 0.
	burst    uint32
	counters api.Counters // only of one that was found
}

// foundTree is what was read at one attach point.
type foundTree struct {
	attachPoint
	// link is where the root is: the device, or our ifb for ingress.
	link string
	// mtu is that of the device, in bytes; 0 if it is not known.
	mtu int
	// occupiedBy names what somebody else has put where our tree would be;
	// empty for nothing. It only matters if a tree is needed here.
	occupiedBy string
	// foreignInside names what somebody else has put inside our tree; empty for
	// nothing. It would be deleted together with the part that it is in.
	foreignInside string

	// hasRoot is set when our root is there, and rootIsCurrent when it also has
	// the options that we give it.
	hasRoot, rootIsCurrent bool
	// hasCleanBand is set when the clean band has the queue that we give it.
	hasCleanBand bool
	netems       map[uint8]netemQdisc // by band
	// blocks of each family, in the order in which the kernel tries them.
	blocks [families][]block

	// claimed is set when an egress tree has the claim; see claim.
	claimed bool
	// hasIFB and ifbIsUp are about our ifb, for ingress.
	hasIFB, ifbIsUp bool
	// receives is set when packets come here: always for egress, and for
	// ingress when all that arrives is redirected to our ifb.
	receives bool
}

// ours reports whether anything here was made by this package.
func (t foundTree) ours() bool { return t.hasRoot || t.hasIFB }

// filters returns the filters of all blocks of a family, in the order in which
// the kernel tries them.
func (t foundTree) filters(f family) []filter {
	var all []filter
	for _, b := range t.blocks[f] {
		all = append(all, b.filters...)
	}
	return all
}

// bands returns the bands that have a netem, in order.
func (t foundTree) bands() []uint8 { return slices.Sorted(maps.Keys(t.netems)) }

// freeBands returns the bands that have none, in order.
func (t foundTree) freeBands() []uint8 {
	var free []uint8
	for band := uint8(bandFirst); band <= bandLast; band++ {
		if _, used := t.netems[band]; !used {
			free = append(free, band)
		}
	}
	return free
}

// bandsNotIn returns the bands that have a netem here and none in a target, in
// order.
func (t foundTree) bandsNotIn(target *targetTree) []uint8 {
	return slices.DeleteFunc(t.bands(), func(band uint8) bool {
		if target == nil {
			return false
		}
		_, stays := target.netems[band]
		return stays
	})
}

// foundDevice is what was read of one device.
type foundDevice struct {
	index           int // of the interface, by which one that was replaced is told
	egress, ingress foundTree
	hook            hook
}

func (d foundDevice) trees() []foundTree { return []foundTree{d.egress, d.ingress} }

// foundDevices is what was read, by name: the devices of the engine that are
// there, and others that have something of ours; see conn.read.
type foundDevices map[string]foundDevice

// names returns the devices in order.
func (d foundDevices) names() []string { return slices.Sorted(maps.Keys(d)) }

// attachPoints returns where trees can be.
func (d foundDevices) attachPoints() []attachPoint {
	var all []attachPoint
	for _, name := range d.names() {
		all = append(all, attachPoint{name, fault.Egress}, attachPoint{name, fault.Ingress})
	}
	return all
}

// tree returns what was read at one attach point.
func (d foundDevices) tree(p attachPoint) foundTree {
	if p.direction == fault.Ingress {
		return d[p.device].ingress
	}
	return d[p.device].egress
}

func sameFilters(a, b []filter) bool {
	return slices.EqualFunc(a, b, func(x, y filter) bool { return x.band == y.band && x.keys.equal(y.keys) })
}
