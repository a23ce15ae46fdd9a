package netem

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// rule leads what its keys match to a fault; "" for none, which is for the
// exempt.
type rule struct {
	keys  keys
	fault string
}

// wanted is what the faults ask of one place.
type wanted struct {
	// tree is wanted for a fault of this place, and on egress for one of either
	// direction; see hook.
	tree     bool
	rules    [families][]rule
	settings map[string]setting // by fault
}

// compile decides what faults ask of a place. Without a fault for it that is
// nothing but perhaps a tree.
func compile(p place, faults []fault.Fault, exempt fault.Exemption, queueMemory uint64) wanted {
	w := wanted{settings: make(map[string]setting)}
	for _, f := range faults {
		on := f.Match.On(p.direction, p.device)
		if on {
			w.settings[f.Name] = settingFor(f.Impairment, queueMemory)
		}
		w.tree = w.tree || on || p.direction == fault.Egress && f.Match.On(fault.Ingress, p.device)
	}
	if len(w.settings) == 0 {
		return w
	}
	for f := range families {
		for _, k := range exemptKeys(exempt, p.direction, f) {
			w.rules[f] = append(w.rules[f], rule{keys: k})
		}
	}
	for _, r := range fault.Rules(faults, p.direction, p.device) {
		for _, k := range termKeys(r.Term, p.direction) {
			w.rules[familyOf(r.V6)] = append(w.rules[familyOf(r.V6)], rule{k, r.Fault})
		}
	}
	return w
}

// check refuses what netem can't hold.
func check(faults []fault.Fault, wants map[place]wanted) error {
	var invalid fault.Invalid
	for _, f := range faults {
		if j := f.Impairment.Jitter; j > maxJitter {
			invalid = append(invalid, api.FieldError{
				Field: "jitter", Value: fault.FormatDelay(j),
				Accepted: fmt.Sprintf("fault %q: want at most %s: the kernel counts a jitter in 31 bits of nanoseconds", f.Name, fault.FormatDelay(maxJitter)),
			})
		}
	}
	for p, w := range wants {
		if n := len(w.rules[ipv4]) + len(w.rules[ipv6]); n > maxFilters {
			invalid = append(invalid, api.FieldError{
				Field: "faults", Value: strconv.Itoa(n) + " filters on " + p.String(),
				Accepted: fmt.Sprintf("want at most %d, exemptions included: one for each combination of peer, protocol and ports, "+
					"where a range of ports counts as the blocks of a power of two it consists of", maxFilters),
			})
		}
	}
	if len(invalid) == 0 {
		return nil
	}
	return invalid
}

// stands reports whether there should be a tree. One without faults is not
// worth a quarrel with somebody else's.
func (w wanted) stands(t tree) bool { return len(w.settings) > 0 || w.tree && t.taken == "" }

func (w wanted) names() []string { return slices.Sorted(maps.Keys(w.settings)) }

// only is what is wanted of some of the faults.
func (w wanted) only(keep map[string]uint8) wanted {
	rest := wanted{tree: w.tree, settings: make(map[string]setting)}
	for name := range keep {
		rest.settings[name] = w.settings[name]
	}
	for f := range families {
		for _, r := range w.rules[f] {
			if _, kept := keep[r.fault]; kept || r.fault == "" {
				rest.rules[f] = append(rest.rules[f], r)
			}
		}
	}
	return rest
}

// spec gives the faults their bands.
func (w wanted) spec(bands map[string]uint8) *spec {
	s := &spec{netems: make(map[uint8]emulator)}
	for name, setting := range w.settings {
		s.netems[bands[name]] = emulator{handle: netemHandle(bands[name]), setting: setting}
	}
	for f := range families {
		s.lists[f] = w.filters(f, bands)
	}
	return s
}

func (w wanted) filters(f family, bands map[string]uint8) []filter {
	list := make([]filter, 0, len(w.rules[f]))
	for _, r := range w.rules[f] {
		band := uint8(bandClean)
		if r.fault != "" {
			band = bands[r.fault] // 0 for a fault without one, which no filter has
		}
		list = append(list, filter{r.keys, band})
	}
	return list
}

// locate returns the bands that faults have in a tree. What this process gave
// them is in memory; without one, as after a restart, a fault is where the same
// filters lead to the same setting.
func (w wanted) locate(t tree, memory map[string]uint8) map[string]uint8 {
	held := make(map[string]uint8)
	if memory != nil {
		for name, band := range memory {
			if _, wanted := w.settings[name]; wanted && t.netems[band].handle == netemHandle(band) {
				held[name] = band
			}
		}
		return held
	}
	for _, name := range w.names() {
		for _, band := range t.bands() {
			e := t.netems[band]
			if e.handle == netemHandle(band) && w.settings[name].heldBy(e.setting.options) && w.leads(t, name, band) {
				held[name] = band
				break
			}
		}
	}
	return held
}

// leads reports whether the filters that lead to a band are those of a fault.
func (w wanted) leads(t tree, name string, band uint8) bool {
	for f := range families {
		var want, have []keys
		for _, r := range w.rules[f] {
			if r.fault == name {
				want = append(want, r.keys)
			}
		}
		for _, one := range t.effective(f) {
			if one.band == band {
				have = append(have, one.keys)
			}
		}
		if !slices.EqualFunc(want, have, keys.equal) {
			return false
		}
	}
	return true
}

// errNoBand reports that the faults before and after a change need more bands
// together than there are.
var errNoBand = errors.New("no band is free")

// assign gives every fault a band. One that is there keeps its band, and its
// packets are not touched. One whose setting changes keeps it too if no filter
// changes; otherwise it gets another one, because some packets could meet the
// new setting while they are still on their old way. Only when no band is free
// does it keep its own all the same. A new fault gets the lowest free band.
func (w wanted) assign(t tree, memory map[string]uint8, known map[uint8]given) (map[string]uint8, error) {
	bands := w.locate(t, memory)
	var free []uint8
	for band := uint8(bandFirst); band <= bandLast; band++ {
		if _, used := t.netems[band]; !used {
			free = append(free, band)
		}
	}
	sameWays := sameFilters(t.effective(ipv4), w.filters(ipv4, bands)) && sameFilters(t.effective(ipv6), w.filters(ipv6, bands))
	var fresh, movers []string
	for _, name := range w.names() {
		band, there := bands[name]
		e := emulator{handle: netemHandle(band), setting: w.settings[name]}
		switch {
		case !there:
			fresh = append(fresh, name)
		case !sameWays && !e.heldBy(t.netems[band], known[band]):
			movers = append(movers, name)
		}
	}
	if len(fresh) > len(free) {
		return bands, errNoBand
	}
	for i, name := range append(fresh, movers...) {
		if i < len(free) {
			bands[name] = free[i]
		}
	}
	return bands, nil
}
