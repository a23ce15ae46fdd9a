package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// control makes changes of the desired set one at a time. The set is
// remembered before the kernel is changed, so that a crash between the two
// ends in what was asked for. A change that the kernel refuses is forgotten
// again.
type control struct {
	engine engine
	store  store
	log    *slog.Logger
	now    func() time.Time

	mu      sync.Mutex
	desired []fault.Fault // sorted by name, as stored
	// warning is what an operator should know of the start; empty if nothing.
	warning string
	// rescheduled has room for one signal to run that the deadlines changed.
	rescheduled chan struct{}
}

func newControl(e engine, s store, log *slog.Logger) *control {
	return &control{engine: e, store: s, log: log, now: time.Now, rescheduled: make(chan struct{}, 1)}
}

var (
	// errStale reports that the set is not the one that the request was made
	// for.
	errStale = errors.New("precondition failed")
	// errNoFault reports that a fault is not there.
	errNoFault = errors.New("no such fault")
)

// edit makes the wanted set from the one that holds. It changes neither.
type edit func(current []fault.Fault) ([]fault.Fault, error)

// replaceAll wants a set and nothing else.
func replaceAll(faults []fault.Fault) edit {
	return func([]fault.Fault) ([]fault.Fault, error) { return faults, nil }
}

// replaceOne wants one fault in the place of that of its name, beside the
// others.
func replaceOne(f fault.Fault) edit {
	return func(current []fault.Fault) ([]fault.Fault, error) {
		return fault.NewSet(append(without(current, f.Name), f))
	}
}

// removeOne wants a fault away; having none of that name is an error if it
// must exist.
func removeOne(name string, mustExist bool) edit {
	return func(current []fault.Fault) ([]fault.Fault, error) {
		rest := without(current, name)
		if mustExist && len(rest) == len(current) {
			return nil, fmt.Errorf("%w: %q", errNoFault, name)
		}
		return rest, nil
	}
}

func without(faults []fault.Fault, name string) []fault.Fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f fault.Fault) bool { return f.Name == name })
}

// request is a change and the terms on which it is made.
type request struct {
	edit edit
	// match has the revisions one of which must hold, or is empty for any.
	match []string
	// dryRun changes nothing.
	dryRun bool
}

// outcome is the set before and after a change.
type outcome struct{ before, after []fault.Fault }

// change makes a change, or with dryRun finds out whether it could be made.
func (c *control) change(r request) (outcome, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.desired
	if now := revision(before); len(r.match) > 0 && !slices.Contains(r.match, now) {
		return outcome{}, fmt.Errorf("%w: If-Match is %.80s and the faults are at %s; read them again", errStale, strings.Join(r.match, ", "), now)
	}
	after, err := r.edit(before)
	if err != nil {
		return outcome{}, err
	}
	if err := fault.Check(after, c.engine.Lacks()); err != nil {
		return outcome{}, err
	}
	if r.dryRun {
		return outcome{before, after}, nil
	}
	if err := c.commit(before, after); err != nil {
		return outcome{}, err
	}
	for _, step := range steps(before, after) {
		if step.action != api.ActionKeep {
			c.log.Info("fault changed", "action", step.action, "fault", step.name, "to", summary(step.fault))
		}
	}
	return outcome{before, after}, nil
}

// commit stores and applies a set, or leaves everything as it was.
func (c *control) commit(before, after []fault.Fault) error {
	if err := c.store.save(after); err != nil {
		return err
	}
	if err := c.engine.Apply(after); err != nil {
		return errors.Join(err, c.store.save(before))
	}
	c.desired = after
	select {
	case c.rescheduled <- struct{}{}:
	default: // the signal is on its way
	}
	return nil
}

// snapshot is the desired set with what the kernel holds of it.
type snapshot struct {
	desired []fault.Fault
	state   fault.State
	warning string
}

// read returns the desired set and reads what the kernel holds now.
func (c *control) read() (snapshot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	state, err := c.engine.State(c.desired)
	return snapshot{desired: c.desired, state: state, warning: c.warning}, err
}

// faults returns the desired set.
func (c *control) faults() []fault.Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.desired
}

// restore brings the kernel to the stored set, less what ended meanwhile.
// Without one, the kernel alone remembers: what it can tell is adopted, with
// the given life, and what it can't is removed, since nobody would end it.
func (c *control) restore(life time.Duration, devices []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	stored, err := c.store.load(devices)
	if err != nil && !errors.Is(err, errNoState) {
		if !errors.Is(err, errDamaged) {
			return err
		}
		c.warning = err.Error()
		c.log.Error("read the state of an earlier agent", "err", err)
	}
	if err != nil {
		if stored, err = c.adopt(life); err != nil {
			return fmt.Errorf("adopt what an earlier agent left: %w", err)
		}
	}
	live := alive(stored, c.now())
	for _, f := range stored {
		if !slices.ContainsFunc(live, func(l fault.Fault) bool { return l.Name == f.Name }) {
			c.log.Info("fault ended while no agent ran", "fault", f.Name, "expiresAt", f.ExpiresAt)
		}
	}
	if err := c.engine.Apply(live); err != nil {
		c.desired = live // status then says that the kernel does not hold it
		return fmt.Errorf("restore %d faults: %w", len(live), err)
	}
	c.desired = live
	if len(live) > 0 {
		c.log.Info("faults restored", "faults", names(live))
	}
	return c.store.save(live)
}

func (c *control) adopt(life time.Duration) ([]fault.Fault, error) {
	left, err := c.engine.Adopt()
	if errors.Is(err, fault.ErrLeftover) {
		c.log.Warn("removing faults", "reason", err.Error())
		return nil, nil
	}
	if life > 0 {
		for i := range left {
			left[i].ExpiresAt = c.now().Add(life)
		}
	}
	return left, err
}

// alive returns the faults that have not ended.
func alive(faults []fault.Fault, now time.Time) []fault.Fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f fault.Fault) bool {
		return !f.ExpiresAt.IsZero() && !f.ExpiresAt.After(now)
	})
}

func names(faults []fault.Fault) string {
	all := make([]string, 0, len(faults))
	for _, f := range faults {
		all = append(all, f.Name)
	}
	return strings.Join(all, ", ")
}
