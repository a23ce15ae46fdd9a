package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/tidelay/tidelay/pkg/agent/fault"
)

// control makes changes one at a time. The desired state is remembered before
// the kernel is changed, so that a crash between the two ends in what was
// asked for. A fault that the kernel refuses is forgotten again; a clear that
// fails is not, and the next agent finishes it.
type control struct {
	mu     sync.Mutex
	engine engine
	store  store
	log    *slog.Logger
}

// set makes f the one fault and returns what the kernel then holds.
func (c *control) set(f fault.Fault) (fault.State, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.before()
	if err := c.store.save(&f); err != nil {
		return fault.State{}, err
	}
	if err := c.engine.Set(f); err != nil {
		return fault.State{}, errors.Join(err, c.store.save(before))
	}
	return c.after(before)
}

// clear ends the fault, if there is one, and returns what the kernel then
// holds.
func (c *control) clear() (fault.State, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.before()
	if err := c.store.save(nil); err != nil {
		return fault.State{}, err
	}
	if err := c.engine.Clear(); err != nil {
		return fault.State{}, err
	}
	return c.after(before)
}

// before returns the fault that a change replaces. That it can't be read stops
// no change: a broken tree is what a set or a clear mends.
func (c *control) before() *fault.Fault {
	state, err := c.engine.State()
	if err != nil {
		c.log.Warn("read the kernel before a change", "err", err)
	}
	return state.Fault
}

func (c *control) after(before *fault.Fault) (fault.State, error) {
	state, err := c.engine.State()
	if err != nil {
		return fault.State{}, fmt.Errorf("read the kernel back: %w", err)
	}
	c.log.Info("fault changed", "from", describe(before), "to", describe(state.Fault))
	return state, nil
}

// state returns what the kernel holds now.
func (c *control) state() (fault.State, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.State()
}

// restore brings the kernel to the stored state. Without one, whatever fault
// of ours the kernel still holds is kept: it is the truth.
func (c *control) restore() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	stored, err := c.store.load()
	switch {
	case errors.Is(err, errNoState):
		return nil
	case err != nil:
		return err
	case stored == nil:
		if err := c.engine.Clear(); err != nil {
			return fmt.Errorf("clear what an earlier agent left: %w", err)
		}
		return nil
	}
	if err := c.engine.Set(*stored); err != nil {
		return fmt.Errorf("restore %s: %w", describe(stored), err)
	}
	c.log.Info("fault restored", "fault", describe(stored))
	return nil
}

func describe(f *fault.Fault) string {
	if f == nil {
		return "none"
	}
	return f.Name + " " + fault.FormatDelay(f.Delay)
}
