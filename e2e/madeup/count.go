package madeup

import (
	"net/http"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Counting is what the counters of each fault grow by with each reading, as those of netem
// do. The zero value is a pod that sends nothing.
type Counting struct {
	// Packets and Bytes left, and Lost packets were lost.
	Packets, Bytes, Lost uint64
	// Anew has the counters begin anew with each reading, as after a start of the agent.
	Anew bool
}

// status answers a request to say what was counted. The agent's mutex must be held.
func (a *Agent) status() answer {
	all := api.Status{Engine: api.EngineNetem, Devices: []api.Device{{Name: "eth0", Index: 2}}, Exempt: []string{}, Warnings: []string{}}
	before := a.counted
	a.counted = map[string]api.Counters{}
	more := api.Counters{Packets: a.way.Count.Packets, Bytes: a.way.Count.Bytes, Dropped: a.way.Count.Lost}
	for _, f := range fault.WireSet(a.alive(time.Now())) {
		counters := before[f.Name].Add(more)
		if a.way.Count.Anew {
			counters = api.Counters{}
		}
		a.counted[f.Name] = counters
		all.Faults = append(all.Faults, api.FaultStatus{Fault: f, Held: true, Counters: counters})
	}
	if a.way.Say != nil {
		a.way.Say(&all)
	}
	return answer{status: http.StatusOK, body: all}
}
