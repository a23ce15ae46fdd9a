package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Warnings lists what an operator should know: about the agent's start (empty
// for nothing), and about each desired fault, given what the kernel has of it.
// When there is none of these, or no desired fault, it lists how the kernel
// differs from the desired set. A missing interface is always listed. Without an
// engine nothing was read from the kernel.
func Warnings(start string, desired []fault.Fault, found fault.State, noEngine bool) []string {
	all := []string{}
	if start != "" {
		all = append(all, start)
	}
	for _, device := range found.Missing {
		all = append(all, fmt.Sprintf("interface %s is missing: what faults ask for there is applied as soon as it is back", device))
	}
	missing := len(all)
	for _, f := range desired {
		if noEngine {
			all = append(all, fmt.Sprintf("fault %q is not in force as far as is known: no engine runs, and it is applied as soon as one does", f.Name))
			continue
		}
		instances, ok := found.Found[f.Name]
		if !ok {
			all = append(all, Missing(f, found))
			continue
		}
		const remedy = "more waited than its queue holds; lower the traffic or the delay, or raise --queue-memory"
		counted := fault.Total(instances)
		if dropped := overflowed(f, counted); dropped > 0 {
			all = append(all, fmt.Sprintf("fault %q: %d packets were dropped though no loss was asked for: %s", f.Name, dropped, remedy))
		}
		if counted.Overlimits > 0 {
			all = append(all, fmt.Sprintf("fault %q: %d packets left before they were due: %s", f.Name, counted.Overlimits, remedy))
		}
	}
	if len(all) == missing || len(desired) == 0 {
		all = append(all, found.Drift...)
	}
	return all
}

// Unsaved warns that the state file could not be written, and of the faults that
// ended and that it still has.
func Unsaved(err error, ended []string) string {
	text := fmt.Sprintf("the state file could not be written and is tried again: %v", err)
	if len(ended) > 0 {
		text += fmt.Sprintf("; an agent that starts before would bring back what has ended: %s", strings.Join(ended, ", "))
	}
	return text
}

// Unended warns of faults that ended while no engine ran.
const Unended = "faults ended while no engine ran: packets may still meet what the kernel has of them, and it is removed as soon as an engine runs"

// Overdue warns of faults that should have ended.
func Overdue(err error) string {
	return fmt.Sprintf("a fault whose time is over could not be ended and is tried again: %v", err)
}

// Waiting says which of the devices that a fault is for are missing; empty if
// none is.
func Waiting(f fault.Fault, devices []api.Device) string {
	var missing []string
	for _, d := range devices {
		if d.Missing && (f.Match.Device == "" || f.Match.Device == d.Name) {
			missing = append(missing, d.Name)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return "; missing now, and waited for: " + strings.Join(missing, ", ")
}

// overflowed returns how many packets a full queue dropped. It is 0 for a fault
// that is meant to drop packets, because the two can't be told apart, and for one
// with a rate, because a real link drops packets too when its queue is full.
func overflowed(f fault.Fault, c api.Counters) uint64 {
	if f.Impairment.Loses() || f.Impairment.Rate != nil {
		return 0
	}
	return c.Dropped
}

// Missing says that the kernel does not have a desired fault, and what to do.
func Missing(f fault.Fault, found fault.State) string {
	if slices.Contains(found.Waiting, f.Name) {
		return fmt.Sprintf("fault %q waits for its interface, of which the pod has none now", f.Name)
	}
	text := fmt.Sprintf("fault %q is wanted but the kernel does not hold it", f.Name)
	if len(found.Drift) > 0 {
		text += " (" + strings.Join(found.Drift, "; ") + ")"
	}
	return text + ": somebody else changed it; set it again or delete it"
}
