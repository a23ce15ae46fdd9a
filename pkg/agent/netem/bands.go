package netem

import (
	"errors"
	"slices"
)

// errNoBand reports that the faults before and after a change need more bands
// together than there are.
var errNoBand = errors.New("no band is free")

// assignBands gives every desired fault a band of a found tree:
//
//   - A fault that is there and stays the same keeps its band. Its packets are
//     not touched.
//   - A fault whose setting changes keeps its band if no filter changes.
//   - If filters change too, such a fault moves to a free band. In its own band,
//     packets that the old filters still send there could meet the new setting,
//     which may be neither their old nor their new fault. Only if no band is
//     free, it keeps its own.
//   - A new fault gets the lowest free band. So does one that had no segmenter and
//     needs one, or the other way round.
//
// The error is errNoBand if there are more new faults than free bands. Then the
// bands are those of the faults that are there.
func (d desiredTree) assignBands(t foundTree, a applied) (map[string]uint8, error) {
	bands := d.locate(t, a)
	added, free := d.without(bands), t.freeBands()
	if len(added) > len(free) {
		return bands, errNoBand
	}
	var moved []string
	if !d.filtersAgree(t, bands) {
		moved = d.changed(t, bands, a)
	}
	for i, name := range slices.Concat(added, moved) {
		if i < len(free) {
			bands[name] = free[i]
		}
	}
	return bands, nil
}

// without returns the faults that have no band yet.
func (d desiredTree) without(bands map[string]uint8) []string {
	return slices.DeleteFunc(d.names(), func(name string) bool {
		_, has := bands[name]
		return has
	})
}

// changed returns the faults in the tree whose netem has another setting.
func (d desiredTree) changed(t foundTree, bands map[string]uint8, a applied) []string {
	return slices.DeleteFunc(d.names(), func(name string) bool {
		band, there := bands[name]
		return !there || d.netem(t, name, band).agreesWith(t.netems[band], a.netems[t.attachPoint][band])
	})
}

// filtersAgree reports whether the filters in the tree are those that the faults
// ask for, with these bands.
func (d desiredTree) filtersAgree(t foundTree, bands map[string]uint8) bool {
	for f := range families {
		if !sameFilters(t.filters(f), d.filters(f, bands)) {
			return false
		}
	}
	return true
}

// locate returns the bands that desired faults have in a found tree: where this
// process put them or, if it has not put anything there yet, where the tree does
// what they ask for.
func (d desiredTree) locate(t foundTree, a applied) map[string]uint8 {
	known, ok := a.bands[t.attachPoint]
	if !ok {
		return d.locateByEffect(t)
	}
	bands := make(map[string]uint8)
	for name, band := range known {
		_, desired := d.settings[name]
		if n := t.netems[band]; desired && n.handle == netemHandle(band) && d.netem(t, name, band).inPlaceOf(n) {
			bands[name] = band
		}
	}
	return bands
}

// locateByEffect returns for each fault the first band whose netem has the
// fault's setting and whose filters are the fault's.
func (d desiredTree) locateByEffect(t foundTree) map[string]uint8 {
	bands := make(map[string]uint8)
	for _, name := range d.names() {
		for _, band := range t.bands() {
			n := t.netems[band]
			if d.netem(t, name, band).sameAs(n) && d.sendsSame(t, name, band) {
				bands[name] = band
				break
			}
		}
	}
	return bands
}

// sendsSame reports whether the filters in the tree send those packets to a
// band that a fault is for.
func (d desiredTree) sendsSame(t foundTree, name string, band uint8) bool {
	for f := range families {
		var desired, found []keys
		for _, r := range d.rules[f] {
			if r.fault == name {
				desired = append(desired, r.keys)
			}
		}
		for _, one := range t.filters(f) {
			if one.band == band {
				found = append(found, one.keys)
			}
		}
		if !slices.EqualFunc(desired, found, keys.equal) {
			return false
		}
	}
	return true
}
