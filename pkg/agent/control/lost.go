package control

import (
	"slices"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// notHeld returns the names of the faults that a change keeps and the kernel does not have
// now, or has otherwise, but for those that wait for an interface. The error says that the kernel
// can't be read.
func (c *Control) notHeld(differences []Difference) ([]string, error) {
	var kept []fault.Fault
	for _, d := range differences {
		if d.Action == api.ActionKeep {
			kept = append(kept, *d.Fault)
		}
	}
	if len(kept) == 0 {
		return nil, nil
	}
	state, err := c.engine.State(kept)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(fault.Names(kept), func(name string) bool {
		_, isHeld := state.Found[name]
		return isHeld || slices.Contains(state.Waiting, name)
	}), nil
}

// restored returns those of the lost faults that the kernel has after a change. Where
// something of somebody else is in the way, the others of them stay lost.
func (c *Control) restored(differences []Difference, lost []string) []string {
	if len(lost) == 0 {
		return nil
	}
	still, err := c.notHeld(differences)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(lost, func(name string) bool { return slices.Contains(still, name) })
}

// markRestored says of faults that they are not kept, but restored.
func (o *Outcome) markRestored(names []string) {
	for i, d := range o.Differences {
		if slices.Contains(names, d.Name) {
			o.Differences[i].Action = api.ActionRestore
		}
	}
}
