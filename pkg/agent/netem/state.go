package netem

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tidelay/tidelay/pkg/fault"
)

// State reads from the kernel what it holds of these faults, and how that
// differs from what Apply would make. It changes nothing.
func (e *Engine) State(faults []fault.Fault) (fault.State, error) {
	k, err := e.dial()
	if err != nil {
		return fault.State{}, err
	}
	defer k.close()
	now, err := e.read(k)
	if err != nil {
		return fault.State{}, err
	}
	state := fault.State{Found: make(map[string][]fault.Instance)}
	missing := make(map[string]bool)
	for _, p := range e.places() {
		t := now.tree(p)
		w := compile(p, faults, e.exempt, e.queueMemory)
		bands := w.locate(t, e.bands[p])
		state.Drift = append(state.Drift, t.drift(w, bands, now[p.device].hook)...)
		for _, name := range w.names() {
			band, there := bands[name]
			if problem := t.problem(w, name, band, there); problem != "" {
				state.Drift = append(state.Drift, fmt.Sprintf("%s: fault %q: %s", p, name, problem))
				missing[name] = true
				continue
			}
			state.Found[name] = append(state.Found[name], fault.Instance{Direction: p.direction, Device: p.device, Counters: t.netems[band].counters})
		}
	}
	for name := range missing {
		delete(state.Found, name)
	}
	return state, nil
}

// problem says why a fault does not do here what it should; nothing if it
// does.
func (t tree) problem(w wanted, name string, band uint8, there bool) string {
	switch {
	case !t.root:
		return "there is no tree of ours"
	case !there:
		return "no netem has its filters and its setting"
	}
	want, got := w.settings[name], t.netems[band].setting
	switch {
	case !want.heldBy(got.options):
		return fmt.Sprintf("the kernel holds netem %s, asked for %s", got, want)
	case want.seeded && got.seed != want.seed:
		return fmt.Sprintf("the kernel holds seed %d, asked for %d", got.seed, want.seed)
	case !w.leads(t, name, band):
		return "other packets are led to its netem than asked for"
	case !t.led:
		return "not all that arrives is redirected to " + t.link
	default:
		return ""
	}
}

// drift says what is not about one fault.
func (t tree) drift(w wanted, bands map[string]uint8, h hook) []string {
	all := t.strangers(h, len(w.settings) > 0)
	say := func(format string, args ...any) {
		all = append(all, t.String()+": "+fmt.Sprintf(format, args...))
	}
	if !w.stands(t) {
		if t.ours() {
			say("a tree of ours that no fault asks for, with %d netems", len(t.netems))
		}
		return all
	}
	if !t.root {
		if len(w.settings) == 0 { // else every fault says so
			say("there is no tree of ours")
		}
		return all
	}
	if !t.fits || !t.clean {
		say("the root qdisc or its clean band is not as it was made")
	}
	for f := range families {
		if want := w.filters(f, bands); !sameFilters(t.effective(f), want) {
			say("%d filters for %s, not the %d asked for", len(t.effective(f)), f, len(want))
		}
	}
	for _, band := range t.bands() {
		if !slices.ContainsFunc(w.names(), func(name string) bool { return bands[name] == band }) {
			say("netem %s that no fault asks for: %s", handleWord(t.netems[band].handle), t.netems[band].setting)
		}
	}
	return all
}

// strangers says what somebody else has put here. Many CNI plugins have an
// ingress qdisc of their own; that is no news as long as no fault needs one.
func (t tree) strangers(h hook, wanted bool) []string {
	var all []string
	if t.direction == fault.Ingress {
		t.taken, t.invaded = cmp.Or(t.taken, h.taken), cmp.Or(t.invaded, h.invaded)
	}
	if t.taken != "" && (t.direction == fault.Egress || wanted) {
		all = append(all, fmt.Sprintf("%s: %s: %s", t.place, t.taken, fault.ErrForeign))
	}
	if t.invaded != "" {
		all = append(all, fmt.Sprintf("%s: %s: %s", t.place, t.invaded, fault.ErrForeign))
	}
	return all
}

// Adopt returns the fault that an earlier process left: none when the kernel
// holds nothing of ours, the fault "latency" when it holds exactly a constant
// delay of all that leaves every interface, and an error that wraps
// fault.ErrLeftover when it holds something else, which only a state file could
// explain.
func (e *Engine) Adopt() ([]fault.Fault, error) {
	k, err := e.dial()
	if err != nil {
		return nil, err
	}
	defer k.close()
	now, err := e.read(k)
	if err != nil {
		return nil, err
	}
	var found *fault.Fault
	with, without := 0, 0
	for _, p := range e.places() {
		t := now.tree(p)
		switch f, constant := t.constantDelay(); {
		case !t.ours() && p.direction == fault.Egress:
			without++
		case !t.ours():
		case !constant || found != nil && !found.SameEffect(f):
			return nil, fmt.Errorf("%s: %w", p, fault.ErrLeftover)
		default:
			found, with = &f, with+1
		}
	}
	if with > 0 && without > 0 {
		return nil, fmt.Errorf("only some interfaces have faults: %w", fault.ErrLeftover)
	}
	if found == nil {
		return nil, nil
	}
	return []fault.Fault{*found}, nil
}

// constantDelay reports whether a tree does nothing but delay all that leaves,
// save what its first filters keep clean, and returns that as a fault.
func (t tree) constantDelay() (fault.Fault, bool) {
	bands := t.bands()
	if t.direction != fault.Egress || t.invaded != "" || len(bands) != 1 {
		return fault.Fault{}, false
	}
	for f := range families {
		list := t.effective(f)
		last := len(list) - 1
		clean := func(one filter) bool { return one.band == bandClean }
		if last < 0 || len(list[last].keys) > 0 || list[last].band != bands[0] || slices.ContainsFunc(list[:last], func(one filter) bool { return !clean(one) }) {
			return fault.Fault{}, false
		}
	}
	got := t.netems[bands[0]].setting.options
	delay := options{delay: got.delay, limit: got.limit}
	if got != delay || got.delay < fault.MinDelay || got.delay > fault.MaxDelay {
		return fault.Fault{}, false
	}
	return fault.Fault{Name: fault.Latency, Match: fault.Match{Direction: fault.Egress}, Impairment: fault.Impairment{Delay: got.delay}}, true
}
