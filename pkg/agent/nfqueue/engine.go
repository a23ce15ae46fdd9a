//go:build linux

package nfqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"github.com/tidelay/tidelay/pkg/agent/fault"
)

// Engine delays what leaves by one device. Its methods are safe for concurrent
// use.
type Engine struct {
	policy   policy
	families []family
	queue    *queue

	mu sync.Mutex // one change of the rules at a time
}

// Open takes over what leaves by the named device. A fault that an earlier
// process left in the kernel is in force again, with the exemption given now.
// From here on its packets wait for Run, which must follow at once; it also
// closes the engine.
//
// The error wraps fault.ErrUnsupported if the kernel lacks something, and
// fault.ErrForeign if another process reads our queues. A table that has our
// name but was made by somebody else is only logged here: Set, Clear and State
// return fault.ErrForeign as long as it is there, and never touch it.
func Open(device string, exempt fault.Exemption, log *slog.Logger) (*Engine, error) {
	has, err := detect()
	if err != nil {
		return nil, err
	}
	if err := unread(delayQueue, sinkQueue); err != nil {
		return nil, err
	}
	left, err := leftover(log)
	if err != nil {
		return nil, err
	}
	s, err := openSocket()
	if err != nil {
		return nil, err
	}
	q, err := newQueue(s, left.Delay)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		policy:   policy{device: device, exempt: exempt, enqueue: has.enqueue},
		families: has.families,
		queue:    q,
	}
	if left == (fault.Fault{}) {
		return e, nil
	}
	log.Info("adopting fault", "fault", left.Name, "delay", left.Delay)
	if err := e.Set(left); err != nil {
		return nil, errors.Join(fmt.Errorf("adopt fault %q: %w", left.Name, err), q.close())
	}
	return e, nil
}

// leftover returns the fault of an earlier process, zero if there is none.
func leftover(log *slog.Logger) (fault.Fault, error) {
	held, err := readTables()
	if errors.Is(err, fault.ErrForeign) {
		log.Warn("leaving a table alone", "err", err)
		return fault.Fault{}, nil
	}
	return held.fault(), err
}

// unread checks that nobody reads any of these queues.
func unread(queues ...uint16) error {
	readers, err := readQueueStats()
	if err != nil {
		return err
	}
	for _, number := range queues {
		if _, taken := readers[number]; taken {
			return fmt.Errorf("netfilter queue %d has a reader, %w", number, fault.ErrForeign)
		}
	}
	return nil
}

// Run releases packets when they are due, until ctx ends; then it lets go of
// what waits, in order, and closes the engine. The rules stay: with nobody to
// read the queue they let everything pass, and the next process finds them.
// The error is nil unless the kernel refused to go on.
func (e *Engine) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, e.queue.close()) }()
	input, err := e.queue.running()
	if err != nil {
		return err
	}
	p, err := newPoller(ctx, input)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()

	// The thread sleeps in the kernel for as long as there is nothing to do.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		wait, err := e.queue.turn()
		if err != nil {
			return err
		}
		if ended, err := p.wait(wait); ended || err != nil {
			return err
		}
	}
}

// Close ends an engine that Run was never called on, as the end of Run does.
func (e *Engine) Close() error { return e.queue.close() }

// Set puts the fault in force instead of any other and returns once the kernel
// was read back and agrees. Packets that wait already keep their deadlines,
// and none is overtaken. It is idempotent.
func (e *Engine) Set(f fault.Fault) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := keepable(f); err != nil {
		return err
	}
	if _, err := e.queue.running(); err != nil {
		return fmt.Errorf("set fault %q: %w", f.Name, err)
	}
	held, err := readTables()
	if err != nil {
		return err
	}
	if held.fault() == (fault.Fault{}) {
		// Nothing can wait, unless somebody removed our rules meanwhile.
		if err := e.queue.release(); err != nil {
			return err
		}
	}
	if asked := e.tables(f); !held.holds(asked) {
		if err := asked.write(); err != nil {
			return err
		}
		if held, err = readTables(); err != nil {
			return err
		}
		if !held.holds(asked) {
			return fmt.Errorf("set fault %q: the kernel holds other rules than it was given", f.Name)
		}
	}
	e.queue.setDelay(f.Delay)
	return nil
}

// Clear ends any fault of ours, also one that an earlier process left, and
// returns once the kernel was read back and holds none. What waits leaves at
// once, in order. It is idempotent.
func (e *Engine) Clear() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	held, err := readTables()
	if err != nil {
		return err
	}
	if len(held) == 0 {
		return e.queue.release()
	}
	if err := e.clear(held); err != nil {
		e.queue.setDelay(held.fault().Delay) // what the kernel may still hold
		return err
	}
	if held, err = readTables(); err != nil {
		return err
	}
	if len(held) > 0 {
		return fmt.Errorf("clear fault %q: the kernel still holds it", held.fault().Name)
	}
	return nil
}

// clear lets packets go before the rules do, so that none is overtaken by one
// that meets no rule any more, and once more for those that met the last.
func (e *Engine) clear(held tables) error {
	if err := e.queue.release(); err != nil {
		return err
	}
	if err := held.flush(); err != nil {
		return err
	}
	if err := e.queue.release(); err != nil {
		return err
	}
	return held.remove()
}

// State reads the fault from the kernel, with what was counted since it was
// put there. Packets and Bytes met the fault, Backlog wait now, Overlimits
// left before they were due because too many waited or came at once, Dropped
// were lost by the kernel's queue.
func (e *Engine) State() (fault.State, error) {
	held, err := readTables()
	if err != nil {
		return fault.State{}, err
	}
	f := held.fault()
	if f == (fault.Fault{}) {
		return fault.State{}, nil
	}
	if !held.holds(e.tables(f)) {
		return fault.State{}, fmt.Errorf("read fault %q: its rules are not all in place; set or clear it", f.Name)
	}
	stats, err := readQueueStats()
	if err != nil {
		return fault.State{}, err
	}
	state := fault.State{Fault: &f}
	state.Counters.Packets, state.Counters.Bytes = held.counters()
	state.Counters.Dropped = stats[delayQueue].dropped
	state.Counters.Backlog = stats[delayQueue].waiting
	state.Counters.Overlimits = e.queue.leftEarly()
	return state, nil
}

// tables returns the rules that put a fault in force.
func (e *Engine) tables(f fault.Fault) tables {
	all := make(tables)
	for _, family := range e.families {
		all[family] = e.policy.rules(family == ipv6, f)
	}
	return all
}
