//go:build linux

package nfqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/tidelay/tidelay/pkg/agent/fault"
)

// Engine puts faults on what crosses some devices. Its methods are safe for
// concurrent use.
type Engine struct {
	policy    policy
	families  []family
	memory    uint64 // for the packets of one lane, in bytes
	scheduler *scheduler
	log       *slog.Logger

	mu sync.Mutex // one change at a time
	// applied is what this process has put in place, and where.
	applied []fault.Fault
	places  slots
}

// Lacks names the features that no kernel lets this engine have.
func Lacks() map[fault.Feature]string {
	const why = "the engine nfqueue never sees what is in a packet, and lets each go once; the engine netem can, on a kernel with sch_netem"
	return map[fault.Feature]string{
		fault.FeatureDuplicate:       why,
		fault.FeatureDuplicateBeside: why,
		fault.FeatureCorrupt:         why,
	}
}

// Open takes over what crosses the named devices. It changes nothing by
// itself; Run must follow at once, and also closes the engine. queueMemory is
// what the packets that wait for one fault may take, in bytes.
//
// The error wraps fault.ErrUnsupported if the kernel lacks something, and
// fault.ErrForeign if another process reads our queues. A table that has our
// name but was made by somebody else only shows later: Apply and State return
// fault.ErrForeign as long as it is there, and never touch it.
func Open(devices []string, exempt fault.Exemption, queueMemory uint64, log *slog.Logger) (*Engine, error) {
	has, err := detect()
	if err != nil {
		return nil, err
	}
	if err := unread(); err != nil {
		return nil, err
	}
	s, err := openSocket()
	if err != nil {
		return nil, err
	}
	return &Engine{
		policy:    policy{devices: devices, exempt: exempt, enqueue: has.enqueue},
		families:  has.families,
		memory:    queueMemory,
		scheduler: newScheduler(s),
		log:       log,
		places:    make(slots),
	}, nil
}

// unread checks that nobody reads any of our queues.
func unread() error {
	readers, err := readQueueStats()
	if err != nil {
		return err
	}
	for number := range readers {
		if number == sinkQueue || number >= egressQueue && number < ingressQueue+fault.MaxFaults {
			return fmt.Errorf("netfilter queue %d has a reader, %w", number, fault.ErrForeign)
		}
	}
	return nil
}

// Lacks is the same as the function.
func (e *Engine) Lacks() map[fault.Feature]string { return Lacks() }

// Run releases packets when they are due, until ctx ends; then it lets go of
// what waits, in order, and closes the engine. The rules stay: with nobody to
// read the queues they let everything pass, and the next process finds them.
// The error is nil unless the kernel refused to go on.
func (e *Engine) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, e.scheduler.close()) }()
	input, err := e.scheduler.running()
	if err != nil {
		return err
	}
	p, err := newPoller(ctx, input)
	if err != nil {
		return err
	}
	defer func() {
		e.scheduler.onKick(nil)
		err = errors.Join(err, p.close())
	}()
	e.scheduler.onKick(p.kick)

	// The thread sleeps in the kernel for as long as there is nothing to do.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		wait, err := e.scheduler.turn()
		if err != nil {
			return err
		}
		if ended, err := p.wait(wait); ended || err != nil {
			return err
		}
	}
}

// Close ends an engine that Run was never called on, as the end of Run does.
func (e *Engine) Close() error { return e.scheduler.close() }

// Apply makes the kernel hold exactly these faults and returns once it was
// read back. A fault that is the same as before keeps its queue, what waits in
// it and its counters. What waits for one that ends leaves at once, in order.
// After a failure the faults of before are in force again.
func (e *Engine) Apply(faults []fault.Fault) error {
	if err := fault.Check(faults, Lacks()); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	held, err := readTables()
	if err != nil {
		return err
	}
	if len(faults) == 0 {
		return e.clear(held)
	}
	if _, err := e.scheduler.running(); err != nil {
		return err
	}
	before, places := e.applied, e.places
	if len(places) == 0 {
		places = placesOf(held)
	}
	if err := e.become(held, faults, places.assign(faults)); err != nil {
		if len(before) == 0 {
			return errors.Join(err, e.rollBack(func(now tables) error { return e.clear(now) }))
		}
		return errors.Join(err, e.rollBack(func(now tables) error { return e.become(now, before, places) }))
	}
	return nil
}

// become shapes the queues that are needed, leads packets to them, and gives
// back those that no rule leads to any more.
func (e *Engine) become(held tables, faults []fault.Fault, places slots) error {
	fresh := e.fresh(faults, places)
	old := e.places
	e.applied, e.places = faults, places
	for _, one := range fresh {
		if err := e.scheduler.shape(one.at.queue(), one.fault.Impairment, e.memory); err != nil {
			return fmt.Errorf("set fault %q: %w", one.fault.Name, err)
		}
	}
	if err := e.scheduler.swallow(); err != nil {
		return err
	}
	needed := places.queues()
	var idle []uint16
	for _, queue := range slices.Sorted(maps.Keys(old.queues())) {
		if !needed[queue] {
			idle = append(idle, queue)
		}
	}
	// Packets go before the rules do, so that none is overtaken by one that
	// meets no rule any more, and once more, in retire, those that met the last.
	for _, queue := range idle {
		if err := e.scheduler.release(queue); err != nil {
			return err
		}
	}
	if asked := e.tables(faults, places); !held.holds(asked) {
		if err := asked.write(held); err != nil {
			return err
		}
		now, err := readTables()
		if err != nil {
			return err
		}
		if !now.holds(asked) {
			return errors.New("read back: the kernel holds other rules than it was given")
		}
	}
	for _, queue := range idle {
		if err := e.scheduler.retire(queue); err != nil {
			return err
		}
	}
	return nil
}

// placed is a fault with its slot in one direction.
type placed struct {
	fault fault.Fault
	at    slot
}

// fresh lists what has to be shaped. A partition needs no queue of its own.
func (e *Engine) fresh(faults []fault.Fault, places slots) []placed {
	var all []placed
	for _, f := range faults {
		for _, direction := range []fault.Direction{fault.Egress, fault.Ingress} {
			if at, used := places[direction][f.Name]; used && !f.Impairment.Partition && !e.has(f, at) {
				all = append(all, placed{f, at})
			}
		}
	}
	return all
}

// has reports whether a fault is in force at a slot already, in this process.
func (e *Engine) has(f fault.Fault, at slot) bool {
	if _, bound := e.scheduler.look(at.queue()); !bound || e.places[at.direction][f.Name] != at {
		return false
	}
	return slices.ContainsFunc(e.applied, f.SameEffect)
}

// rollBack undoes a change that failed half way.
func (e *Engine) rollBack(undo func(tables) error) error {
	now, err := readTables()
	if err == nil {
		err = undo(now)
	}
	if err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}

// clear ends every fault of ours, also one that an earlier process left. What
// waits leaves at once, in order.
func (e *Engine) clear(held tables) error {
	queues := slices.Sorted(maps.Keys(e.places.queues()))
	for _, queue := range queues {
		if err := e.scheduler.release(queue); err != nil {
			return err
		}
	}
	if held.rules() > 0 {
		if err := held.idle().write(held); err != nil {
			return err
		}
	}
	for _, queue := range queues {
		if err := e.scheduler.retire(queue); err != nil {
			return err
		}
	}
	e.applied, e.places = nil, make(slots)
	if len(held) == 0 {
		return nil
	}
	if err := held.remove(); err != nil {
		return err
	}
	now, err := readTables()
	if err != nil {
		return err
	}
	if len(now) > 0 {
		return errors.New("read back: the kernel still holds rules of ours")
	}
	return nil
}

// tables returns the rules that put faults in force.
func (e *Engine) tables(faults []fault.Fault, places slots) tables {
	all := make(tables)
	for _, f := range e.families {
		v6 := f == ipv6
		one := make(table)
		for _, direction := range []fault.Direction{fault.Egress, fault.Ingress} {
			one[baseChain(direction)] = e.policy.base(direction, v6, faults, places)
			for _, each := range faults {
				if at, used := places[direction][each.Name]; used {
					one[at.chain()] = e.policy.hold(at, v6, each)
				}
			}
		}
		all[f] = one
	}
	return all
}
