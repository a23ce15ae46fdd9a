package control

import (
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Difference is what a change does to one fault.
type Difference struct {
	Name string
	// Action is api.ActionAdd, ActionChange, ActionKeep, ActionRestore or ActionRemove.
	Action string
	// Fault is the fault after the change; nil when it is removed.
	Fault *fault.Fault
}

// diff lists the faults of both sets by name, each with what the change from
// before to after does to it. Both sets are sorted.
func diff(before, after []fault.Fault) []Difference {
	var all []Difference
	for i, f := range after {
		action := api.ActionAdd
		if old := fault.Find(before, f.Name); old != nil {
			action = api.ActionChange
			if old.SameEffect(f) && old.Owner == f.Owner {
				action = api.ActionKeep
			}
		}
		all = append(all, Difference{Name: f.Name, Action: action, Fault: &after[i]})
	}
	for _, f := range before {
		if fault.Find(after, f.Name) == nil {
			all = append(all, Difference{Name: f.Name, Action: api.ActionRemove})
		}
	}
	slices.SortFunc(all, func(a, b Difference) int { return strings.Compare(a.Name, b.Name) })
	return all
}
