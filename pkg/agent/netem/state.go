package netem

import (
	"fmt"
	"slices"

	"github.com/tidelay/tidelay/pkg/fault"
)

// State reads from the kernel what it holds of these faults, and how that
// differs from what Apply would make. It changes nothing. A fault counts as
// found only if it is complete at every attach point that it is for.
func (e *Engine) State(faults []fault.Fault) (fault.State, error) {
	k, err := e.dial()
	if err != nil {
		return fault.State{}, err
	}
	defer k.close()
	found, err := e.read(k)
	if err != nil {
		return fault.State{}, err
	}
	state := fault.State{Found: make(map[string][]fault.Instance)}
	incomplete := make(map[string]bool)
	for _, name := range e.scope.Devices {
		if _, there := found[name]; !there {
			state.Missing = append(state.Missing, name)
		}
	}
	for _, f := range faults {
		if f.Match.WaitsFor(e.scope.Devices, state.Missing) {
			state.Waiting = append(state.Waiting, f.Name)
		}
	}
	everywhere := make(desiredTrees)
	for _, p := range e.attachPoints() {
		everywhere[p] = desiredAt(p, faults, e.scope.Exempt, e.queueMemory)
	}
	for _, p := range found.attachPoints() {
		t := found.tree(p)
		withHook := t
		if p.direction == fault.Ingress {
			withHook = found[p.device].ingressWithHook()
		}
		desired := everywhere[p]
		bands := desired.locate(t, e.applied)
		state.Drift = append(state.Drift, withHook.reportForeign(desired.hasFaults())...)
		for _, drift := range t.drift(desired, bands) {
			state.Drift = append(state.Drift, fmt.Sprintf("%s: %s", p, drift))
		}
		for _, name := range desired.names() {
			if drift := t.faultDrift(desired, name, bands); drift != "" {
				state.Drift = append(state.Drift, fmt.Sprintf("%s: fault %q: %s", p, name, drift))
				incomplete[name] = true
				continue
			}
			state.Found[name] = append(state.Found[name], fault.Instance{Direction: p.direction, Device: p.device, Counters: t.netems[bands[name]].counters})
		}
	}
	for name := range incomplete {
		delete(state.Found, name)
	}
	return state, nil
}

// faultDrift says why one fault does not do here what it should; "" if it does.
func (t foundTree) faultDrift(d desiredTree, name string, bands map[string]uint8) string {
	band, located := bands[name]
	switch {
	case !t.hasRoot:
		return "there is no tree of ours"
	case !located:
		return "no netem has its filters and its setting"
	}
	desired, found := d.settings[name], t.netems[band].setting
	switch {
	case !desired.agreesWith(found.options):
		return fmt.Sprintf("the kernel holds netem %s, asked for %s", found, desired)
	case d.netem(t, name, band).burst != t.netems[band].burst:
		return fmt.Sprintf("large segments are cut to %d bytes, asked for %d", t.netems[band].burst, d.netem(t, name, band).burst)
	case desired.seeded && found.seed != desired.seed:
		return fmt.Sprintf("the kernel holds seed %d, asked for %d", found.seed, desired.seed)
	case !d.sendsSame(t, name, band):
		return "other packets are led to its netem than asked for"
	case !t.receives:
		return "not all that arrives is redirected to " + t.link
	default:
		return ""
	}
}

// drift says how a tree differs from what is desired, where that is not about
// one desired fault.
func (t foundTree) drift(d desiredTree, bands map[string]uint8) []string {
	switch {
	case !d.needsTree(t) && t.ours():
		return []string{fmt.Sprintf("a tree of ours that no fault asks for, with %d netems", len(t.netems))}
	case !d.needsTree(t):
		return nil
	case !t.hasRoot && d.hasFaults(): // each fault says so
		return nil
	case !t.hasRoot:
		return []string{"there is no tree of ours"}
	}
	var all []string
	if !t.rootIsCurrent || !t.hasCleanBand {
		all = append(all, "the root qdisc or its clean band is not as it was made")
	}
	for f := range families {
		if desired := d.filters(f, bands); !sameFilters(t.filters(f), desired) {
			all = append(all, fmt.Sprintf("%d filters for %s, not the %d asked for", len(t.filters(f)), f, len(desired)))
		}
	}
	for _, band := range t.bands() {
		if !slices.ContainsFunc(d.names(), func(name string) bool { return bands[name] == band }) {
			all = append(all, fmt.Sprintf("netem %s that no fault asks for: %s", handleWord(netemHandle(band)), t.netems[band].setting))
		}
	}
	return all
}

// Warnings returns nothing: what a qdisc delays has left the pod's network stack.
func (e *Engine) Warnings([]fault.Fault) []string { return nil }
