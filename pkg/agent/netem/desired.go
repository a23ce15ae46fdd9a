package netem

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// rule sends packets that match its keys to a fault, or to none ("") when they
// are exempt.
type rule struct {
	keys  keys
	fault string
}

// desiredTree is what a set of faults asks for at one attach point. With a band
// for each fault it becomes a targetTree.
type desiredTree struct {
	rules    [families][]rule
	settings map[string]setting // by fault
	// evenEmpty asks for a tree on egress even without a fault there, because
	// the device has a fault of ingress; see hook.
	evenEmpty bool
}

// desiredTrees is by attach point.
type desiredTrees map[attachPoint]desiredTree

// on returns what is desired on the devices that were found: nothing on those
// that are ours no more.
func (d desiredTrees) on(found foundDevices) desiredTrees {
	there := make(desiredTrees)
	for _, p := range found.attachPoints() {
		there[p] = d[p]
	}
	return there
}

// desiredAt compiles faults for one attach point. Without a fault there, it has
// no rules either.
func desiredAt(p attachPoint, faults []fault.Fault, exempt fault.Exemption, queueMemory uint64) desiredTree {
	d := desiredTree{settings: make(map[string]setting)}
	for _, f := range faults {
		if f.Match.On(p.direction, p.device) {
			d.settings[f.Name] = settingFor(f.Impairment, queueMemory)
		}
		if p.direction == fault.Egress && f.Match.On(fault.Ingress, p.device) {
			d.evenEmpty = true
		}
	}
	if d.hasFaults() {
		d.addExemptions(exempt, p.direction)
		d.addFaultRules(faults, p)
	}
	return d
}

// addExemptions adds the rules for what no fault touches.
func (d *desiredTree) addExemptions(exempt fault.Exemption, direction fault.Direction) {
	for f := range families {
		for _, k := range exemptKeys(exempt, direction, f) {
			d.rules[f] = append(d.rules[f], rule{keys: k})
		}
	}
}

// addFaultRules adds the rules of the faults, the most precise ones first.
func (d *desiredTree) addFaultRules(faults []fault.Fault, p attachPoint) {
	for _, r := range fault.Rules(faults, p.direction, p.device) {
		f := familyOf(r.V6)
		for _, k := range termKeys(r.Term, p.direction) {
			d.rules[f] = append(d.rules[f], rule{k, r.Fault})
		}
	}
}

func (d desiredTree) hasFaults() bool { return len(d.settings) > 0 }

// names returns the faults in order of name.
func (d desiredTree) names() []string { return slices.Sorted(maps.Keys(d.settings)) }

// needsTree reports whether there should be a tree, given what was found. One
// without faults gives way to what somebody else has put there.
func (d desiredTree) needsTree(found foundTree) bool {
	return d.hasFaults() || d.evenEmpty && found.occupiedBy == ""
}

// only returns what is left with just those faults that have a band.
func (d desiredTree) only(bands map[string]uint8) desiredTree {
	rest := desiredTree{settings: make(map[string]setting), evenEmpty: d.evenEmpty}
	for name := range bands {
		rest.settings[name] = d.settings[name]
	}
	for f := range families {
		rest.rules[f] = slices.DeleteFunc(slices.Clone(d.rules[f]), func(r rule) bool {
			_, stays := bands[r.fault]
			return !stays && r.fault != ""
		})
	}
	return rest
}

// target returns what a found tree should become, with each fault in its band.
func (d desiredTree) target(found foundTree, bands map[string]uint8) *targetTree {
	t := &targetTree{netems: make(map[uint8]netemQdisc)}
	for name, band := range bands {
		t.netems[band] = d.netem(found, name, band)
	}
	for f := range families {
		t.filters[f] = d.filters(f, bands)
	}
	return t
}

// netem returns that of a fault in a band of a found tree.
func (d desiredTree) netem(found foundTree, name string, band uint8) netemQdisc {
	setting := d.settings[name]
	return netemQdisc{handle: netemHandle(band), setting: setting, burst: found.burst(setting)}
}

// filters returns the rules of a family as filters. Those of a fault without a
// band have the band 0, which equals no filter in the kernel.
func (d desiredTree) filters(f family, bands map[string]uint8) []filter {
	list := make([]filter, 0, len(d.rules[f]))
	for _, r := range d.rules[f] {
		band := uint8(bandClean)
		if r.fault != "" {
			band = bands[r.fault]
		}
		list = append(list, filter{r.keys, band})
	}
	return list
}

// checkLimits refuses faults that netem or one tree can't hold. The error is a
// fault.Invalid.
func checkLimits(faults []fault.Fault, points []attachPoint, desired desiredTrees) error {
	var invalid fault.Invalid
	for _, f := range faults {
		if j := f.Impairment.Jitter; j > maxJitter {
			invalid = append(invalid, api.FieldError{
				Field: "jitter", Value: fault.FormatDelay(j),
				Accepted: fmt.Sprintf("fault %q: want at most %s: the kernel counts a jitter in 31 bits of nanoseconds", f.Name, fault.FormatDelay(maxJitter)),
			})
		}
	}
	for _, p := range points {
		if n := max(len(desired[p].rules[ipv4]), len(desired[p].rules[ipv6])); n > maxFilters {
			invalid = append(invalid, api.FieldError{
				Field: "faults", Value: strconv.Itoa(n) + " filters of one IP family on " + p.String(),
				Accepted: fmt.Sprintf("want at most %d, exemptions included: one for each combination of peer, protocol and ports, "+
					"where a range of ports counts as the blocks of a power of two it consists of, and TCP over IPv6 counts twice", maxFilters),
			})
		}
	}
	if len(invalid) == 0 {
		return nil
	}
	return invalid
}
