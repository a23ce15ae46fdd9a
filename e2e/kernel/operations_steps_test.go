//go:build kernel

package kernel

import (
	"slices"
	"time"
)

// operation is something that can happen to an agent or its pod.
type operation struct {
	name     string
	possible func(w *walk) bool
	do       func(w *walk)
}

func always(*walk) bool     { return true }
func guest(*walk) bool      { return machine.Guest }
func anyFault(w *walk) bool { return len(w.faults) > 0 }

func link(states ...linkState) func(*walk) bool {
	return func(w *walk) bool { return slices.Contains(states, w.net1) }
}

func disk(states ...diskState) func(*walk) bool {
	return func(w *walk) bool { return slices.Contains(states, w.disk) }
}

// operations are all that there are: requests, which are the most frequent, and
// what happens to the agent.
func operations() []operation {
	return append([]operation{
		{"set all", always, (*walk).setAll},
		{"set all", always, (*walk).setAll},
		{"set one", always, (*walk).setOne},
		{"set one", always, (*walk).setOne},
		{"set the latency", always, (*walk).setLatency},
		{"end one", anyFault, (*walk).endOne},
		{"end all", anyFault, (*walk).endAll},
		{"set what is owned", always, (*walk).setOwned},
		{"renew what is owned", func(w *walk) bool { return len(w.faults.ownedBy(owned)) > 0 }, (*walk).renew},
		{"verify", anyFault, (*walk).verify},
		{"set all while net1 flaps", link(up), (*walk).setAllWhileItFlaps},
		{"wait for an end", func(w *walk) bool { return w.faults.nextEnd() != "" }, (*walk).waitForEnd},
		{"kill", always, (*walk).kill},
		{"kill it while it changes", disk(works), (*walk).killWhileItChanges},
	}, events()...)
}

// events need no agent that runs.
func events() []operation {
	return []operation{
		{"make net1", link(absent), (*walk).plug},
		{"delete net1", link(up, down), (*walk).unplug},
		{"net1 down", link(up), func(w *walk) { w.setLink(down) }},
		{"net1 up", link(down), func(w *walk) { w.setLink(up) }},
		{"eth0 down and up", always, (*walk).flapETH0},
		{"fill the disk", disk(works), func(w *walk) { w.setDisk(full) }},
		{"make the disk read-only", disk(works), func(w *walk) { w.setDisk(readOnly) }},
		{"mend the disk", disk(full, readOnly), func(w *walk) { w.setDisk(works) }},
		{"the clock goes forward", guest, func(w *walk) { w.stepClock(time.Hour) }},
		{"the clock goes back", guest, func(w *walk) { w.stepClock(-time.Hour) }},
		{"meddle", anyFault, (*walk).meddle},
	}
}

// choose chooses one of the operations that are possible now.
func (w *walk) choose(all []operation) operation {
	all = slices.DeleteFunc(all, func(o operation) bool { return !o.possible(w) })
	return all[w.random.IntN(len(all))]
}
