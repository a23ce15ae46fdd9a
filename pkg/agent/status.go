package agent

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// status is the answer of /v1/status.
func (s *server) status(now snapshot) api.Status {
	status := api.Status{
		Engine:       s.choice.name,
		Reason:       s.choice.reason,
		Capabilities: s.choice.capabilities,
		Devices:      []api.Device{},
		Faults:       []api.FaultStatus{},
		Exempt:       exemptions(s.exempt),
		Warnings:     warnings(now),
		Version:      s.version,
	}
	for _, device := range s.devices {
		status.Devices = append(status.Devices, api.Device(device))
	}
	for _, f := range now.desired {
		holdings, held := now.state.Found[f.Name]
		status.Faults = append(status.Faults, api.FaultStatus{Fault: f.Wire(), Held: held, Counters: api.Counters(total(holdings))})
	}
	return status
}

// total sums the counters of a fault.
func total(holdings []fault.Instance) api.Counters {
	var sum api.Counters
	for _, holding := range holdings {
		sum = sum.Add(holding.Counters)
	}
	return sum
}

// warnings lists what somebody should know of a snapshot.
func warnings(now snapshot) []string {
	all := []string{}
	if now.warning != "" {
		all = append(all, now.warning)
	}
	for _, f := range now.desired {
		holdings, held := now.state.Found[f.Name]
		if !held {
			all = append(all, notHeld(f, now.state))
			continue
		}
		const remedy = "more waited than its queue holds; lower the traffic or the delay, or raise --queue-memory"
		counted := total(holdings)
		if dropped := overflowed(f, counted); dropped > 0 {
			all = append(all, fmt.Sprintf("fault %q: %d packets were dropped though no loss was asked for: %s", f.Name, dropped, remedy))
		}
		if counted.Overlimits > 0 {
			all = append(all, fmt.Sprintf("fault %q: %d packets left before they were due: %s", f.Name, counted.Overlimits, remedy))
		}
	}
	if len(all) == 0 || len(now.desired) == 0 {
		all = append(all, now.state.Drift...)
	}
	return all
}

// overflowed returns how many packets a fault dropped that was to drop none. A
// link of limited rate drops what its queue can't hold, as a real one does.
func overflowed(f fault.Fault, c api.Counters) uint64 {
	if f.Impairment.Loses() || f.Impairment.Rate != nil {
		return 0
	}
	return c.Dropped
}

// notHeld says that the kernel does not hold a fault.
func notHeld(f fault.Fault, state fault.State) string {
	text := fmt.Sprintf("fault %q is wanted but the kernel does not hold it", f.Name)
	if len(state.Drift) > 0 {
		text += " (" + strings.Join(state.Drift, "; ") + ")"
	}
	return text + ": somebody else changed it; set it again or delete it"
}

// formatTimes writes a multiple of a delay, also beyond the cap of one.
func formatTimes(d time.Duration, times int) string {
	if total := d * time.Duration(times); total <= fault.MaxDelay {
		return fault.FormatDelay(total)
	}
	return (d * time.Duration(times)).String()
}
