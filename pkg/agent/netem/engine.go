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

	// bands and known are what this process did, by place: the band of each
	// fault, and what each band's netem was given. A place is not in bands until
	// this process has brought it to a desired state.
	bands map[place]map[string]uint8
	known map[place]map[uint8]given
}

// New returns an engine for some interfaces. It changes nothing by itself.
// queueMemory is what the packets that wait in one netem may take, in bytes.
// Lacks is what Probe found.
func New(devices []api.Device, exempt fault.Exemption, queueMemory uint64, lacks map[fault.Feature]string, log *slog.Logger) *Engine {
	return &Engine{
		devices: devices, exempt: exempt, queueMemory: queueMemory, lacks: lacks, log: log,
		dial:  func() (kernel, error) { return dial(devices) },
		bands: make(map[place]map[string]uint8),
		known: make(map[place]map[uint8]given),
	}
}

// Run blocks until ctx ends. The kernel does the work by itself, and goes on
// with it when the agent is gone.
func (e *Engine) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Close does nothing: there is nothing but the kernel's state.
func (e *Engine) Close() error { return nil }

// Lacks names the features that this kernel's netem does not have.
func (e *Engine) Lacks() map[fault.Feature]string { return maps.Clone(e.lacks) }

// places returns where trees can stand.
func (e *Engine) places() []place {
	var all []place
	for _, d := range e.devices {
		all = append(all, place{d.Name, fault.Egress}, place{d.Name, fault.Ingress})
	}
	return all
}

// Apply makes the kernel hold exactly these faults, sorted by name, and
// returns once it was read back. What is the same as before is not touched;
// packets on their way keep the delay they met. Those that wait in a fault that
// ends leave in their own time for up to a second, and are dropped then. A
// failure leaves what was there.
//
// It fails with fault.Invalid when the faults need more filters than there can
// be or a jitter beyond netem's, with fault.ErrUnsupported when the kernel
// lacks a part, and with fault.ErrForeign when somebody else's qdisc or filter
// is in the way; without faults, only when it is inside what is ours.
func (e *Engine) Apply(faults []fault.Fault) error {
	if err := fault.Check(faults, e.lacks); err != nil {
		return err
	}
	wants := make(map[place]wanted)
	for _, p := range e.places() {
		wants[p] = compile(p, faults, e.exempt, e.queueMemory)
	}
	if err := check(faults, wants); err != nil {
		return err
	}
	k, err := e.dial()
	if err != nil {
		return err
	}
	defer k.close()
	before, err := e.read(k)
	if err != nil {
		return err
	}
	for _, d := range e.devices {
		if err := before[d.Name].foreign(func(p place) bool { return len(wants[p].settings) > 0 }); err != nil {
			return err
		}
	}
	undo := e.remember(before)
	if err := e.reach(k, before, wants); err != nil {
		return errors.Join(err, undo(k))
	}
	return nil
}

// foreign returns an error when somebody else is in the way of changing a
// tree.
func (t tree) foreign(wanted bool) error {
	switch {
	case t.invaded != "":
		return fmt.Errorf("%s: %s: %w; remove it first", t.place, t.invaded, fault.ErrForeign)
	case t.taken != "" && wanted:
		return fmt.Errorf("%s: %s: %w; remove it first if it may go", t.place, t.taken, fault.ErrForeign)
	default:
		return nil
	}
}

// snapshot is what was read of all devices, by name.
type snapshot map[string]port

// tree is that of one place.
func (s snapshot) tree(p place) tree {
	if p.direction == fault.Ingress {
		return s[p.device].ingress
	}
	return s[p.device].egress
}

// read reads all devices.
func (e *Engine) read(k kernel) (snapshot, error) {
	s := make(snapshot)
	for _, d := range e.devices {
		p, err := k.port(d.Name)
		if err != nil {
			return nil, err
		}
		s[d.Name] = p
	}
	return s, nil
}

// reach brings the trees to what is wanted. It takes one step where packets
// meet their old fault until they meet their new one. Two are needed when there
// are not enough bands for both: the faults that go leave first.
func (e *Engine) reach(k kernel, now snapshot, wants map[place]wanted) error {
	targets, bands, short := e.assign(now, wants)
	if short {
		if err := e.run(k, now, targets); err != nil {
			return err
		}
		var err error
		if now, err = e.read(k); err != nil {
			return err
		}
		maps.Copy(e.bands, bands)
		if targets, bands, short = e.assign(now, wants); short {
			return fmt.Errorf("assign bands: %w", errNoBand)
		}
	}
	if err := e.run(k, now, targets); err != nil {
		return err
	}
	maps.Copy(e.bands, bands)
	return nil
}

// assign decides the specs of all places and the bands in them. Where the bands
// do not suffice, the spec has only the faults that stay.
func (e *Engine) assign(now snapshot, wants map[place]wanted) (map[place]*spec, map[place]map[string]uint8, bool) {
	targets, all, short := make(map[place]*spec), make(map[place]map[string]uint8), false
	for p, w := range wants {
		all[p] = make(map[string]uint8)
		if !w.stands(now.tree(p)) {
			targets[p] = nil
			continue
		}
		bands, err := w.assign(now.tree(p), e.bands[p], e.known[p])
		if err != nil {
			short, w = true, w.only(bands)
		}
		all[p] = bands
		targets[p] = w.spec(bands)
	}
	return targets, all, short
}

// remember returns what brings back the trees as they are.
func (e *Engine) remember(now snapshot) func(kernel) error {
	targets, bands := make(map[place]*spec), maps.Clone(e.bands)
	for _, p := range e.places() {
		targets[p] = specOf(now.tree(p), e.known[p])
	}
	return func(k kernel) error {
		e.bands = bands
		now, err := e.read(k)
		if err == nil {
			err = e.run(k, now, targets)
		}
		if err != nil {
			return fmt.Errorf("roll back: %w", err)
		}
		return nil
	}
}
