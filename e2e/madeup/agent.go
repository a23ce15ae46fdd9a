package madeup

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Agent is an agent that is made up. Its methods can be called concurrently.
type Agent struct {
	fleet *Fleet
	addr  netip.Addr

	mu       sync.Mutex
	podUID   string
	listener net.Listener // nil while it does not listen by itself
	faults   []fault.Fault
	way      Way
	counts   Counts
	counted  map[string]api.Counters // of each fault, by name
}

// Way is how an agent behaves. The zero value is as a real one does.
type Way struct {
	// Hang has it do what it is asked for, and never answer.
	Hang bool
	// Drop has it close connections without an answer, and do nothing.
	Drop bool
	// Refuse is what it answers to a request that sets faults, which it does not do; nil
	// for none.
	Refuse *api.Problem
	// Lie has it answer that it holds no fault.
	Lie bool
	// Say, if it is not nil, changes what it says of itself when it is asked how it is.
	Say func(*api.Status)
	// Token is what it asks for; empty for none.
	Token string
	// Measure is how it measures, and Count how it counts.
	Measure Measuring
	Count   Counting
}

// Counts are the requests that an agent got.
type Counts struct {
	// Changes are those that change faults, or would. Of them Empty set none, and Altering
	// found or left other faults than before, apart from their lives.
	Changes, Empty, Altering int
	// Measurements are those that have it measure, or read what it has counted.
	Measurements int
	// Others are all others.
	Others int
}

// Act has the agent behave in a way from now on.
func (a *Agent) Act(w Way) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.way = w
}

// Counts returns the requests so far.
func (a *Agent) Counts() Counts {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts
}

// Faults returns the faults that the agent holds now, by name, with their owners and
// ends.
func (a *Agent) Faults() []api.Fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fault.WireSet(a.alive(time.Now()))
}

// Set replaces all faults of the agent, whoever set them, as a person may do who asks the
// agent itself. Without any it is an agent that has lost its state.
func (a *Agent) Set(faults ...api.Fault) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	parsed, err := fault.ParseSet(faults, fault.Limits{Now: moment(now)})
	if err == nil {
		a.faults = parsed
		a.fleet.hold(a.addr, parsed)
	}
	return err
}

// alive returns the faults that have not ended, and forgets the others. The agent's mutex
// must be held.
func (a *Agent) alive(now time.Time) []fault.Fault {
	a.faults = slices.DeleteFunc(a.faults, func(f fault.Fault) bool {
		left, ends := f.Left(moment(now))
		return ends && left <= 0
	})
	return a.faults
}

// moment is a time on the clock that can be set alone.
func moment(now time.Time) fault.Moment { return fault.Moment{Wall: now.Round(0)} }

// replace replaces the faults of an owner, or of all if it is empty, as the agent does.
// It returns what that did to each fault. The agent's mutex must be held.
func (a *Agent) replace(owner string, faults []api.Fault, now time.Time) ([]api.Change, error) {
	if owner != "" {
		for i := range faults {
			faults[i].Owner = owner
		}
	}
	set, err := fault.ParseSet(faults, fault.Limits{Now: moment(now)})
	if err != nil {
		return nil, err
	}
	before := slices.Clone(a.alive(now))
	if owner != "" {
		for _, f := range before {
			switch {
			case f.Owner == owner:
			case fault.Find(set, f.Name) != nil:
				return nil, otherOwner(f)
			default:
				set = append(set, f)
			}
		}
		if set, err = fault.NewSet(set); err != nil {
			return nil, err
		}
	}
	a.faults = set
	a.fleet.hold(a.addr, set)
	made := changes(before, set)
	if slices.ContainsFunc(made, func(c api.Change) bool { return c.Action != api.ActionKeep }) {
		a.counts.Altering++
	}
	return made, nil
}

// changes says what became of the faults of both sets, in the order of their names.
func changes(before, after []fault.Fault) []api.Change {
	all := []api.Change{}
	for _, f := range after {
		change := api.Change{Name: f.Name, Action: api.ActionAdd}
		if old := fault.Find(before, f.Name); old != nil {
			change.Action = api.ActionChange
			if old.SameEffect(f) && old.Owner == f.Owner {
				change.Action = api.ActionKeep
			}
		}
		all = append(all, change)
	}
	for _, f := range before {
		if fault.Find(after, f.Name) == nil {
			all = append(all, api.Change{Name: f.Name, Action: api.ActionRemove})
		}
	}
	slices.SortFunc(all, func(a, b api.Change) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Names reports whether a fault of the agent names an address among its peers.
func (a *Agent) Names(peer netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.alive(time.Now()), func(f fault.Fault) bool {
		return slices.ContainsFunc(f.Match.Peers, func(p netip.Prefix) bool { return p.Contains(peer) })
	})
}
