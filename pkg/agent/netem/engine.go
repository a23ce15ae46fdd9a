package netem

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Engine puts faults on interfaces. Its methods must not be called
// concurrently.
type Engine struct {
	scope       fault.Scope
	queueMemory uint64
	lacks       map[fault.Feature]string
	log         *slog.Logger
	dial        func() (kernel, error)
	applied     applied
	// keepsOthers leaves what is ours on interfaces outside the scope.
	keepsOthers bool
}

// New returns an engine for some interfaces. It changes nothing by itself.
// queueMemory is how much memory the packets that wait in one netem may take,
// in bytes. lacks is what Probe found.
func New(scope fault.Scope, queueMemory uint64, lacks map[fault.Feature]string, log *slog.Logger) *Engine {
	return &Engine{
		scope: scope, queueMemory: queueMemory, lacks: lacks, log: log,
		dial: func() (kernel, error) { return dial() },
	}
}

// SetScope makes the next change act on other interfaces, or exempt other
// traffic.
func (e *Engine) SetScope(scope fault.Scope) { e.scope = scope }

// Run blocks until ctx ends. It does nothing else: the kernel does the work by
// itself, and goes on with it when the agent is gone.
func (e *Engine) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Close does nothing: there is nothing to release but the kernel's state, which
// stays.
func (e *Engine) Close() error { return nil }

// Lacks returns the features that this kernel's netem does not have, with the
// reasons.
func (e *Engine) Lacks() map[fault.Feature]string { return maps.Clone(e.lacks) }

// attachPoints returns where faults should be, also on interfaces that are
// missing.
func (e *Engine) attachPoints() []attachPoint {
	var all []attachPoint
	for _, name := range e.scope.Devices {
		all = append(all, attachPoint{name, fault.Egress}, attachPoint{name, fault.Ingress})
	}
	return all
}

// Apply makes the kernel hold exactly these faults, which are sorted by name, on
// the interfaces of the scope that are there. It returns when the kernel was read
// back and agrees. A failure brings back what was there before. On other
// interfaces, which were in the scope before or were renamed, nothing of ours
// stays.
//
// What does not change is not touched, and packets that already wait keep their
// delay. Packets that wait in a fault that ends have up to a second to leave on
// time; after that they are dropped.
//
// The error is fault.Invalid if the faults need more filters than there can be
// or a longer jitter than netem has. It wraps fault.ErrUnsupported if the kernel
// lacks a part, and fault.ErrForeign if somebody else's qdisc or filter is in
// the way. To remove all faults, only what is inside our own trees is in the
// way.
func (e *Engine) Apply(faults []fault.Fault) error {
	return e.apply(faults, func(_ kernel, found foundDevices, desired desiredTrees) error { return found.refuseForeign(desired) })
}

// Reapply is Apply for faults that were accepted before. Where somebody else's
// qdisc or filter is in the way, it leaves that place as it is, and State says
// so; but what is to end there has no effect any more.
func (e *Engine) Reapply(faults []fault.Fault) error {
	return e.apply(faults, func(k kernel, found foundDevices, desired desiredTrees) error {
		found.yieldToForeign(desired)
		return e.endBeside(k, found, faults)
	})
}

// replacements bounds how often a change starts anew because an interface went
// away meanwhile.
const replacements = 10

// apply is Apply with a way to deal with what is somebody else's, given what is
// desired.
func (e *Engine) apply(faults []fault.Fault, onForeign func(kernel, foundDevices, desiredTrees) error) error {
	if err := fault.Check(faults, e.lacks); err != nil {
		return err
	}
	everywhere := make(desiredTrees)
	for _, p := range e.attachPoints() {
		everywhere[p] = desiredAt(p, faults, e.scope.Exempt, e.queueMemory)
	}
	if err := checkLimits(faults, e.attachPoints(), everywhere); err != nil {
		return err
	}
	k, err := e.dial()
	if err != nil {
		return err
	}
	defer k.close()
	for attempt := 1; ; attempt++ {
		found, err := e.read(k)
		if err != nil {
			return err
		}
		// A tree outside the scope that can't be deleted stays. State says so.
		maps.DeleteFunc(found, func(name string, d foundDevice) bool {
			return !slices.Contains(e.scope.Devices, name) && d.hasForeignInside()
		})
		desired := everywhere.on(found)
		if err := onForeign(k, found, desired); err != nil {
			return err
		}
		before := e.checkpoint(found)
		err = e.applyDesired(k, found, desired)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.ENODEV) && attempt < replacements:
			continue
		default:
			return errors.Join(err, e.rollBack(k, before))
		}
	}
}

// read reads the devices that are there, and unless others are kept, everything
// else that is ours.
func (e *Engine) read(k kernel) (foundDevices, error) {
	return k.read(e.scope.Devices, !e.keepsOthers)
}

// applyDesired makes the trees what the faults ask for. Usually that is one
// change. If there are not enough bands for the old and the new faults
// together, it is two: the first only removes the faults that end.
func (e *Engine) applyDesired(k kernel, found foundDevices, desired desiredTrees) error {
	next := e.assign(found, desired)
	if next.onlyOld {
		if err := e.applyAssignment(k, found, next); err != nil {
			return err
		}
		var err error
		if found, err = e.readAgain(k, found); err != nil {
			return err
		}
		if next = e.assign(found, desired); next.onlyOld {
			return fmt.Errorf("assign bands: %w", errNoBand)
		}
	}
	return e.applyAssignment(k, found, next)
}

// assignment is the targets of all attach points, and the band of each fault
// in them.
type assignment struct {
	targets targetTrees
	bands   map[attachPoint]map[string]uint8
	// onlyOld is set when somewhere the bands did not suffice. The target there
	// has only the faults that are there already.
	onlyOld bool
}

// assign decides the target of each attach point.
func (e *Engine) assign(found foundDevices, desired desiredTrees) assignment {
	next := assignment{targets: make(targetTrees), bands: make(map[attachPoint]map[string]uint8)}
	for _, p := range found.attachPoints() {
		d, t := desired[p], found.tree(p)
		if !d.needsTree(t) {
			next.targets[p], next.bands[p] = nil, make(map[string]uint8)
			continue
		}
		bands, err := d.assignBands(t, e.applied)
		if err != nil {
			next.onlyOld, d = true, d.only(bands)
		}
		next.targets[p], next.bands[p] = d.target(t, bands), bands
	}
	return next
}

// applyAssignment makes the trees their targets and remembers the bands.
func (e *Engine) applyAssignment(k kernel, found foundDevices, next assignment) error {
	if err := e.applyTargets(k, found, next.targets); err != nil {
		return err
	}
	e.applied.recordBands(next.bands)
	return nil
}

// checkpoint is what to come back to when a change fails.
type checkpoint struct {
	targets targetTrees
	bands   map[attachPoint]map[string]uint8
}

// checkpoint returns the present state.
func (e *Engine) checkpoint(found foundDevices) checkpoint {
	c := checkpoint{targets: make(targetTrees), bands: maps.Clone(e.applied.bands)}
	for _, p := range found.attachPoints() {
		c.targets[p] = targetOf(found.tree(p), e.applied)
	}
	return c
}

// rollBack brings back the state of a checkpoint.
func (e *Engine) rollBack(k kernel, c checkpoint) error {
	e.applied.bands = c.bands
	found, err := e.read(k)
	if err == nil {
		maps.DeleteFunc(found, func(name string, _ foundDevice) bool { // new since the checkpoint
			_, known := c.targets[attachPoint{name, fault.Egress}]
			return !known
		})
		err = e.applyTargets(k, found, c.targets)
	}
	if err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}
