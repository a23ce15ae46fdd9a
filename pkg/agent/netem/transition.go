package netem

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// applyTargets makes the trees their targets, in one change where the kernel
// allows it.
//
// Some kernels refuse a duplicating netem beside another one in the same tree,
// even for a moment. There, a change that would have both first removes the
// whole old tree, and packets meet no fault until the new one is there.
func (e *Engine) applyTargets(k kernel, found foundDevices, targets targetTrees) error {
	if _, refused := e.lacks[fault.FeatureDuplicateBeside]; refused {
		withoutOld := maps.Clone(targets)
		for _, p := range found.attachPoints() {
			if found.tree(p).duplicatesBeside(targets[p]) {
				withoutOld[p] = nil
			}
		}
		if !maps.Equal(withoutOld, targets) {
			if err := e.applyPlan(k, found, withoutOld); err != nil {
				return err
			}
			var err error
			if found, err = e.readAgain(k, found); err != nil {
				return err
			}
		}
	}
	return e.applyPlan(k, found, targets)
}

// applyPlan carries out the plans of all devices together, phase by phase, so
// that all faults that end share one second of drain. Then it reads back and
// verifies. If there is nothing to do, the kernel is not touched.
func (e *Engine) applyPlan(k kernel, found foundDevices, targets targetTrees) error {
	var all plan
	for _, name := range found.names() {
		p := e.plan(found[name], targets)
		if p.empty() {
			continue
		}
		if err := found[name].refuseForeign(targets.has); err != nil {
			return err
		}
		all.add(p)
	}
	if all.empty() {
		e.applied.recordSeeds(targets)
		return nil
	}
	if err := e.do(k, found, slices.Concat(all.prepare, all.reroute)); err != nil {
		return err
	}
	if err := e.drain(k, found, targets); err != nil {
		return err
	}
	if err := e.do(k, found, all.remove); err != nil {
		return err
	}
	found, err := e.readBack(k, found, targets)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if err := e.verify(found, targets); err != nil {
		return err
	}
	e.applied.recordSeeds(targets)
	return nil
}

// readBack reads what a change has made. It deletes hash tables that an agent left
// which was killed: the kernel reports them only beside a block of their priority,
// which a change can have made anew.
func (e *Engine) readBack(k kernel, before foundDevices, targets targetTrees) (foundDevices, error) {
	found, err := e.readAgain(k, before)
	if err != nil {
		return nil, err
	}
	var tables []op
	for _, name := range found.names() {
		for _, o := range e.plan(found[name], targets).reroute {
			if _, is := o.(deleteTable); is {
				tables = append(tables, o)
			}
		}
	}
	if len(tables) == 0 {
		return found, nil
	}
	if err := e.do(k, found, tables); err != nil {
		return nil, err
	}
	return e.readAgain(k, found)
}

// readAgain reads the devices that were found before, as far as they are still
// there. The error wraps unix.ENODEV if one was replaced.
func (e *Engine) readAgain(k kernel, before foundDevices) (foundDevices, error) {
	found, err := e.read(k)
	if err != nil {
		return nil, err
	}
	for name, now := range found {
		then, known := before[name]
		switch {
		case !known:
			delete(found, name) // new; whoever follows the links will tell
		case now.index != then.index:
			return nil, fmt.Errorf("%s was replaced: %w", name, unix.ENODEV)
		}
	}
	return found, nil
}

// plan decides the changes of one device.
func (e *Engine) plan(found foundDevice, targets targetTrees) plan {
	_, cannotIngress := e.lacks[fault.FeatureIngress]
	return found.plan(targets, e.applied, !cannotIngress)
}

// do makes changes one by one until one fails. What a netem is given is
// recorded before, because the kernel can take a part of a change that fails.
func (e *Engine) do(k kernel, found foundDevices, ops []op) error {
	for _, o := range ops {
		if o, ok := o.(setNetem); ok {
			for _, p := range found.attachPoints() {
				if t := found.tree(p); t.link == o.link {
					e.applied.recordNetem(t, o)
				}
			}
		}
		if err := k.do(o); err != nil {
			return err
		}
	}
	return nil
}

// verify compares what was read back with the targets: there must be nothing
// left to do. The error names the first change that is left, and what netems do
// instead of what they should.
func (e *Engine) verify(found foundDevices, targets targetTrees) error {
	var errs []error
	for _, name := range found.names() {
		left := e.plan(found[name], targets).all()
		if len(left) == 0 {
			continue
		}
		var differences strings.Builder
		for _, t := range found[name].trees() {
			differences.WriteString(t.netemDifferences(targets[t.attachPoint]))
		}
		errs = append(errs, fmt.Errorf("read back %s: the kernel does not hold what was asked for, which takes: %s%s", name, left[0], differences.String()))
	}
	return errors.Join(errs...)
}

// netemDifferences names the netems whose settings are not those of a target.
func (t foundTree) netemDifferences(target *targetTree) string {
	if target == nil {
		return ""
	}
	var text strings.Builder
	for _, band := range slices.Sorted(maps.Keys(target.netems)) {
		if n, there := t.netems[band]; there && !target.netems[band].setting.agreesWith(n.setting.options) {
			fmt.Fprintf(&text, "; it holds netem %s", n.setting)
		}
	}
	return text.String()
}
