package netem

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/tidelay/tidelay/pkg/agent/fault"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
)

// Engine delays the packets that leave one interface. Its methods must not be
// called concurrently.
type Engine struct {
	device rtnl.Device
	exempt fault.Exemption
	log    *slog.Logger
}

// New returns an engine for one interface. It changes nothing by itself.
func New(device rtnl.Device, exempt fault.Exemption, log *slog.Logger) *Engine {
	return &Engine{device: device, exempt: exempt, log: log}
}

// Run blocks until ctx ends. The kernel does the work by itself, and goes on
// with it when the agent is gone.
func (e *Engine) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Close does nothing: there is nothing but the kernel's state.
func (e *Engine) Close() error { return nil }

// Set makes the kernel hold f and returns once it was read back. It can be
// repeated, also with another delay: packets already waiting keep the delay
// they met. A failure leaves the interface as it was found. It fails with
// fault.ErrForeign when the root qdisc is somebody else's, and with
// fault.ErrUnsupported when the kernel lacks a part.
func (e *Engine) Set(f fault.Fault) error {
	before, err := readTree(e.device.Index)
	if err != nil {
		return fmt.Errorf("read %s: %w", e.device.Name, err)
	}
	want := options{delay: f.Delay, limit: limitFor(f.Delay)}
	if err := e.apply(before, want); err != nil {
		err = fmt.Errorf("delay %s: %w", e.device.Name, err)
		if errors.Is(err, fault.ErrForeign) {
			return err
		}
		return errors.Join(err, e.undo(before))
	}
	return nil
}

func (e *Engine) apply(from tree, want options) error {
	if err := from.build(e.device.Index, want, e.exempt); err != nil {
		return err
	}
	now, err := readTree(e.device.Index)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	return now.verify(want, e.exempt)
}

// undo brings the interface back to what it was before a failed Set.
func (e *Engine) undo(before tree) error {
	if !before.delays() {
		return e.remove()
	}
	held, err := decode(before.netem.options)
	if err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	now, err := readTree(e.device.Index)
	if err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	if err := now.build(e.device.Index, held, e.exempt); err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	return nil
}

// How long Clear lets waiting packets leave in their own time, and how often
// it looks. Beyond that they are dropped: whoever clears a long delay wants it
// gone.
const (
	drainTime     = time.Second
	drainInterval = 2 * time.Millisecond
)

// Clear takes the fault away, lets the packets that wait leave on time for up
// to a second, and returns once the kernel was read back. Having no fault is
// fine, and so is a root qdisc of somebody else's, which is left alone.
func (e *Engine) Clear() error {
	t, err := readTree(e.device.Index)
	if err != nil {
		return fmt.Errorf("read %s: %w", e.device.Name, err)
	}
	if t.root == nil {
		return nil
	}
	if err := t.deleteAllFilters(e.device.Index); err != nil {
		return fmt.Errorf("clear %s: %w", e.device.Name, err)
	}
	if dropped, err := e.drain(); err != nil {
		return fmt.Errorf("drain %s: %w", e.device.Name, err)
	} else if dropped > 0 {
		e.log.Warn("packets still waiting are dropped with the fault", "device", e.device.Name, "packets", dropped)
	}
	return e.remove()
}

// drain waits until the netem is empty and returns how many packets it still
// holds when the time is up.
func (e *Engine) drain() (uint64, error) {
	deadline := time.NewTimer(drainTime)
	defer deadline.Stop()
	poll := time.NewTicker(drainInterval)
	defer poll.Stop()
	for {
		t, err := readTree(e.device.Index)
		if err != nil {
			return 0, err
		}
		if t.netem == nil || t.netem.counters.Backlog == 0 {
			return 0, nil
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			return t.netem.counters.Backlog, nil
		}
	}
}

// remove deletes our root qdisc, if it is there, and makes sure it is gone.
func (e *Engine) remove() error {
	t, err := readTree(e.device.Index)
	if err != nil {
		return fmt.Errorf("read %s: %w", e.device.Name, err)
	}
	if t.root == nil {
		return nil
	}
	if err := deleteQdisc(e.device.Index, qdisc{kind: "prio", handle: handleRoot, parent: netlink.HANDLE_ROOT}); err != nil {
		return fmt.Errorf("delete root qdisc of %s: %w", e.device.Name, err)
	}
	t, err = readTree(e.device.Index)
	if err != nil {
		return fmt.Errorf("read back %s: %w", e.device.Name, err)
	}
	if t.root != nil {
		return fmt.Errorf("delete root qdisc of %s: it is still there", e.device.Name)
	}
	return nil
}

// State reads from the kernel what it holds and has counted.
func (e *Engine) State() (fault.State, error) {
	t, err := readTree(e.device.Index)
	if err != nil {
		return fault.State{}, fmt.Errorf("read %s: %w", e.device.Name, err)
	}
	if !t.delays() {
		return fault.State{}, nil
	}
	o, err := decode(t.netem.options)
	if err != nil {
		return fault.State{}, fmt.Errorf("read %s: %w", e.device.Name, err)
	}
	return fault.State{Fault: &fault.Fault{Name: fault.Latency, Delay: o.delay}, Counters: t.netem.counters}, nil
}
