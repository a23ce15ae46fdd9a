package netem

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// How long packets that wait in a fault that ends may leave in their own time,
// and how often that is looked at. Whoever ends a long delay wants it gone.
const (
	drainTime     = time.Second
	drainInterval = 2 * time.Millisecond
)

// run brings trees to specs and makes sure that the kernel holds them. Some
// kernels refuse a duplicating netem beside another one, even for a moment;
// there the old tree goes first, and packets meet no fault until the new one is
// there.
func (e *Engine) run(k kernel, now snapshot, targets map[place]*spec) error {
	first := maps.Clone(targets)
	mixed := false
	if _, alone := e.lacks[fault.FeatureDuplicateBeside]; alone {
		for _, p := range e.places() {
			if now.tree(p).mixes(targets[p]) {
				first[p], mixed = nil, true
			}
		}
	}
	if mixed {
		var err error
		if err = e.step(k, now, first); err == nil {
			now, err = e.read(k)
		}
		if err != nil {
			return err
		}
	}
	return e.step(k, now, targets)
}

// step takes the steps of all places together, so that what dies in one has
// the same second as in the others, and reads back.
func (e *Engine) step(k kernel, now snapshot, targets map[place]*spec) error {
	var all steps
	for _, d := range e.devices {
		s := e.plan(now[d.Name], targets)
		if s.empty() {
			continue
		}
		if err := now[d.Name].foreign(func(p place) bool { return targets[p] != nil }); err != nil {
			return err
		}
		all.build = append(all.build, s.build...)
		all.lead = append(all.lead, s.lead...)
		all.remove = append(all.remove, s.remove...)
	}
	if all.empty() {
		e.settle(targets)
		return nil
	}
	if err := e.change(k, now, slices.Concat(all.build, all.lead)); err != nil {
		return err
	}
	if err := e.drain(k, now, targets); err != nil {
		return err
	}
	if err := e.change(k, now, all.remove); err != nil {
		return err
	}
	now, err := e.read(k)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if err := e.verify(now, targets); err != nil {
		return err
	}
	e.settle(targets)
	return nil
}

// plan decides the steps of one device.
func (e *Engine) plan(now port, targets map[place]*spec) steps {
	_, unable := e.lacks[fault.FeatureIngress]
	return now.plan(targets, e.known, !unable)
}

// settle remembers of specs that the kernel holds which seeds were asked for,
// also those that another process gave.
func (e *Engine) settle(targets map[place]*spec) {
	for p, s := range targets {
		if s == nil {
			continue
		}
		for band, want := range s.netems {
			g := e.known[p][band]
			g.seeded = want.setting.seeded
			e.knows(p, band, g)
		}
	}
}

func (e *Engine) knows(p place, band uint8, g given) {
	if e.known[p] == nil {
		e.known[p] = make(map[uint8]given)
	}
	e.known[p][band] = g
}

// change does operations one by one and keeps account of what netems were
// given: also by one that fails, since the kernel can have taken a part.
func (e *Engine) change(k kernel, now snapshot, ops []op) error {
	for _, o := range ops {
		if set, ok := o.(setQdisc); ok && set.kind == kindNetem {
			e.note(now, set)
		}
		if err := k.do(o); err != nil {
			return err
		}
	}
	return nil
}

// note remembers what a netem is given that the kernel does not report. A
// table stays with a netem that is then given none.
func (e *Engine) note(now snapshot, o setQdisc) {
	for _, p := range e.places() {
		t := now.tree(p)
		if t.link != o.link {
			continue
		}
		band := uint8(o.parent)
		g := given{distribution: e.known[p][band].distribution, seeded: o.netem.seeded}
		if _, kept := t.netems[band]; !kept {
			g.distribution = ""
		}
		if o.netem.jitter > 0 && o.netem.distribution != "" {
			g.distribution = o.netem.distribution
		}
		e.knows(p, band, g)
	}
}

// drain waits until some bands are empty, to which nothing is led any more, or
// until the time is up.
func (e *Engine) drain(k kernel, now snapshot, targets map[place]*spec) error {
	deadline := time.NewTimer(drainTime)
	defer deadline.Stop()
	poll := time.NewTicker(drainInterval)
	defer poll.Stop()
	for late := false; ; {
		waiting := make(map[place]uint64)
		for _, p := range e.places() {
			t := now.tree(p)
			bands := t.dying(targets[p])
			if len(bands) == 0 {
				continue
			}
			packets, err := k.waiting(t, bands)
			if err != nil {
				return fmt.Errorf("drain: %w", err)
			}
			if packets > 0 {
				waiting[p] = packets
			}
		}
		if len(waiting) == 0 {
			return nil
		}
		if late {
			for p, packets := range waiting {
				e.log.Warn("packets still waiting are dropped with their fault", "place", p.String(), "packets", packets)
			}
			return nil
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			late = true
		}
	}
}

// verify compares trees that were read back with what they should be: nothing
// must be left to do.
func (e *Engine) verify(now snapshot, targets map[place]*spec) error {
	var errs []error
	for _, d := range e.devices {
		s := e.plan(now[d.Name], targets)
		if s.empty() {
			continue
		}
		var holds strings.Builder
		for _, t := range now[d.Name].trees() {
			holds.WriteString(differences(t, targets[t.place]))
		}
		errs = append(errs, fmt.Errorf("read back %s: the kernel does not hold what was asked for, which takes: %s%s",
			d.Name, slices.Concat(s.build, s.lead, s.remove)[0], holds.String()))
	}
	return errors.Join(errs...)
}

// differences says what netems do instead of what they should.
func differences(t tree, want *spec) string {
	if want == nil {
		return ""
	}
	var text strings.Builder
	for _, band := range slices.Sorted(maps.Keys(want.netems)) {
		if got, there := t.netems[band]; there && !want.netems[band].setting.heldBy(got.setting.options) {
			fmt.Fprintf(&text, "; it holds netem %s", got.setting)
		}
	}
	return text.String()
}
