package netem

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Engine puts faults on interfaces. Its methods must not be called
// concurrently.
type Engine struct {
	devices     []api.Device
	exempt      fault.Exemption
	queueMemory uint64
	lacks       map[fault.Feature]string
	log         *slog.Logger
	dial        func() (kernel, error)
	applied     applied
}

// New returns an engine for some interfaces. It changes nothing by itself.
// queueMemory is how much memory the packets that wait in one netem may take,
// in bytes. lacks is what Probe found.
func New(devices []api.Device, exempt fault.Exemption, queueMemory uint64, lacks map[fault.Feature]string, log *slog.Logger) *Engine {
	return &Engine{
		devices: devices, exempt: exempt, queueMemory: queueMemory, lacks: lacks, log: log,
		dial: func() (kernel, error) { return dial(devices) },
	}
}

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

// attachPoints returns where trees can be.
func (e *Engine) attachPoints() []attachPoint {
	var all []attachPoint
	for _, d := range e.devices {
		all = append(all, attachPoint{d.Name, fault.Egress}, attachPoint{d.Name, fault.Ingress})
	}
	return all
}

// Apply makes the kernel hold exactly these faults, which are sorted by name.
// It returns when the kernel was read back and agrees. A failure brings back
// what was there before.
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
	if err := fault.Check(faults, e.lacks); err != nil {
		return err
	}
	desired := make(map[attachPoint]desiredTree)
	for _, p := range e.attachPoints() {
		desired[p] = desiredAt(p, faults, e.exempt, e.queueMemory)
	}
	if err := checkLimits(faults, e.attachPoints(), desired); err != nil {
		return err
	}
	k, err := e.dial()
	if err != nil {
		return err
	}
	defer k.close()
	found, err := e.read(k)
	if err != nil {
		return err
	}
	for _, d := range e.devices {
		if err := found[d.Name].refuseForeign(func(p attachPoint) bool { return desired[p].hasFaults() }); err != nil {
			return err
		}
	}
	before := e.checkpoint(found)
	if err := e.applyDesired(k, found, desired); err != nil {
		return errors.Join(err, e.rollBack(k, before))
	}
	return nil
}

// read reads all devices.
func (e *Engine) read(k kernel) (foundDevices, error) {
	found := make(foundDevices)
	for _, d := range e.devices {
		one, err := k.readDevice(d.Name)
		if err != nil {
			return nil, err
		}
		found[d.Name] = one
	}
	return found, nil
}

// applyDesired makes the trees what the faults ask for. Usually that is one
// change. If there are not enough bands for the old and the new faults
// together, it is two: the first only removes the faults that end.
func (e *Engine) applyDesired(k kernel, found foundDevices, desired map[attachPoint]desiredTree) error {
	next := e.assign(found, desired)
	if next.onlyOld {
		if err := e.applyAssignment(k, found, next); err != nil {
			return err
		}
		var err error
		if found, err = e.read(k); err != nil {
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
func (e *Engine) assign(found foundDevices, desired map[attachPoint]desiredTree) assignment {
	next := assignment{targets: make(targetTrees), bands: make(map[attachPoint]map[string]uint8)}
	for p, d := range desired {
		t := found.tree(p)
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
	for _, p := range e.attachPoints() {
		c.targets[p] = targetOf(found.tree(p), e.applied)
	}
	return c
}

// rollBack brings back the state of a checkpoint.
func (e *Engine) rollBack(k kernel, c checkpoint) error {
	e.applied.bands = c.bands
	found, err := e.read(k)
	if err == nil {
		err = e.applyTargets(k, found, c.targets)
	}
	if err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}
