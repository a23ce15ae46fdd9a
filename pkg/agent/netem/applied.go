package netem

import (
	"maps"

	"github.com/tidelay/tidelay/pkg/fault"
)

// applied is what this process has put into the kernel, as far as the kernel
// does not tell. The zero value is that of a process that has done nothing yet.
type applied struct {
	// bands has the band of each fault, by attach point. An attach point is not
	// in it until this process has made the kernel hold a set of faults there.
	bands map[attachPoint]map[string]uint8
	// netems has what each netem was given, by attach point and band.
	netems map[attachPoint]map[uint8]unreported
}

// unreported is what a netem was given and the kernel does not report.
type unreported struct {
	// distribution is the table of delays in use; "" when it is not known.
	distribution fault.Distribution
	// seeded is set when the seed was asked for. The kernel reports a seed of
	// its own choice in the same way.
	seeded bool
}

// recordBands notes the bands of faults that the kernel now holds.
func (a *applied) recordBands(bands map[attachPoint]map[string]uint8) {
	if a.bands == nil {
		a.bands = make(map[attachPoint]map[string]uint8)
	}
	maps.Copy(a.bands, bands)
}

// recordNetem notes what a netem is about to be given. The kernel keeps a table
// of delays until the netem gets another one.
func (a *applied) recordNetem(t foundTree, o setNetem) {
	given := unreported{seeded: o.setting.seeded}
	if _, exists := t.netems[o.band]; exists {
		given.distribution = a.netems[t.attachPoint][o.band].distribution
	}
	if o.setting.hasTable() {
		given.distribution = o.setting.distribution
	}
	a.setNetem(t.attachPoint, o.band, given)
}

// recordSeeds notes for targets that the kernel holds which of their seeds were
// asked for, also of those that another process gave.
func (a *applied) recordSeeds(targets targetTrees) {
	for p, target := range targets {
		if target == nil {
			continue
		}
		for band, n := range target.netems {
			given := a.netems[p][band]
			given.seeded = n.setting.seeded
			a.setNetem(p, band, given)
		}
	}
}

func (a *applied) setNetem(p attachPoint, band uint8, given unreported) {
	if a.netems == nil {
		a.netems = make(map[attachPoint]map[uint8]unreported)
	}
	if a.netems[p] == nil {
		a.netems[p] = make(map[uint8]unreported)
	}
	a.netems[p][band] = given
}
