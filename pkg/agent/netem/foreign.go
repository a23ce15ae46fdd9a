package netem

import (
	"cmp"
	"fmt"

	"github.com/tidelay/tidelay/pkg/fault"
)

// ingressWithHook returns the ingress tree with what is foreign on the hook,
// without which the tree does nothing.
func (d foundDevice) ingressWithHook() foundTree {
	t := d.ingress
	t.occupiedBy = cmp.Or(t.occupiedBy, d.hook.occupiedBy)
	t.foreignInside = cmp.Or(t.foreignInside, d.hook.foreignInside)
	return t
}

// refuseForeign returns an error that wraps fault.ErrForeign if somebody else's
// state is in the way of what is desired.
func (d foundDevices) refuseForeign(desired desiredTrees) error {
	for _, name := range d.names() {
		if err := d[name].refuseForeign(func(p attachPoint) bool { return desired[p].hasFaults() }); err != nil {
			return err
		}
	}
	return nil
}

// yieldToForeign leaves out the trees in whose place somebody else has put
// something. What is inside a tree of ours stays in the way of a change there.
func (d foundDevices) yieldToForeign(desired desiredTrees) {
	for _, name := range d.names() {
		for _, t := range []foundTree{d[name].egress, d[name].ingressWithHook()} {
			if t.occupiedBy != "" {
				desired[t.attachPoint] = desiredTree{}
			}
		}
	}
}

// refuseForeign returns an error that wraps fault.ErrForeign if somebody else's
// state is in the way of a change of this device. needsTree says where there
// must be a tree after the change.
func (d foundDevice) refuseForeign(needsTree func(attachPoint) bool) error {
	for _, t := range []foundTree{d.egress, d.ingressWithHook()} {
		switch {
		case t.foreignInside != "":
			return fmt.Errorf("%s: %s: %w; remove it first", t.attachPoint, t.foreignInside, fault.ErrForeign)
		case t.occupiedBy != "" && needsTree(t.attachPoint):
			return fmt.Errorf("%s: %s: %w; remove it first if it may go", t.attachPoint, t.occupiedBy, fault.ErrForeign)
		}
	}
	return nil
}

// hasForeignInside reports whether somebody else's state is inside ours.
func (d foundDevice) hasForeignInside() bool {
	return d.egress.foreignInside != "" || d.ingressWithHook().foreignInside != ""
}

// reportForeign says what somebody else has put here. Many CNI plugins have an
// ingress qdisc of their own, which is only worth a word when a fault needs
// that place.
func (t foundTree) reportForeign(hasFaults bool) []string {
	var all []string
	if t.occupiedBy != "" && (t.direction == fault.Egress || hasFaults) {
		all = append(all, fmt.Sprintf("%s: %s: %s", t.attachPoint, t.occupiedBy, fault.ErrForeign))
	}
	if t.foreignInside != "" {
		all = append(all, fmt.Sprintf("%s: %s: %s", t.attachPoint, t.foreignInside, fault.ErrForeign))
	}
	return all
}
