package explain

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	agentwords "github.com/tidelay/tidelay/pkg/agent/explain"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/container"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// write writes what is known of an agent.
func (a *Agent) write(p *printer) {
	p.line(0, "Agent: %s", a.State)
	switch w := a.Written; {
	case a.Kind == container.Attached:
		p.line(1, "attached, as the ephemeral container %s, which is there until the pod is deleted", a.Container)
	case w != nil:
		p.line(1, "the injector %s wrote: for %s of TidbCluster %s, UID %s; image %s", w.Version, w.Component, w.Cluster, w.ClusterUID, w.Image)
	default:
		p.line(1, "what the injector wrote is not there, or can't be read")
	}
	if a.Lost != "" {
		p.marked(1, markBad, "%s: %s", a.Lost, container.Leaves)
	}
	switch a.Outcome {
	case "":
		p.line(1, "it is not asked: the pod has ended")
	case agents.Answered:
		if a.Status == nil {
			p.marked(1, markBad, "it answers: %s", a.Error)
			return
		}
		a.status(p)
	case agents.Forbidden:
		p.marked(1, markUnknown, "you may not ask it, which takes the right to %s: %s", a.right, a.Error)
	case agents.Unreachable:
		p.marked(1, markBad, "it can't be reached: %s", a.Error)
	default:
		p.marked(1, markUnknown, "asking it failed: %s", a.Error)
	}
}

// status writes what an agent answers.
func (a *Agent) status(p *printer) {
	s := a.Status
	mark := markGood
	if s.Engine == api.EngineNone {
		mark = markBad
	}
	p.marked(1, mark, "%s", strings.TrimSuffix(fmt.Sprintf("version %s, engine %s: %s", cmp.Or(s.Version, "not known"), s.Engine, s.Reason), ": "))
	held := 0
	for _, f := range s.Faults {
		if f.Held {
			held++
		}
	}
	switch {
	case len(s.Faults) == 0:
		p.line(1, "it holds no faults")
	case held == len(s.Faults):
		p.marked(1, markGood, "it holds %s, and the kernel has all of them", tidbcluster.Plural(held, "fault"))
	default:
		p.marked(1, markBad, "it holds %s, of which the kernel has %d", tidbcluster.Plural(len(s.Faults), "fault"), held)
	}
	for _, f := range s.Faults {
		mark := markGood
		if !f.Held {
			mark = markBad
		}
		p.marked(2, mark, "%s%s: %s", f.Name, origin(f.Fault), meaning(f.Fault, s))
		p.line(3, "%s", counted(f))
	}
	for _, warning := range s.Warnings {
		p.line(1, "%s", p.style.Bad("warning: "+warning))
	}
}

// origin says who set a fault, and when it ends.
func origin(f api.Fault) string {
	text := ", set by a person"
	if f.Owner != "" {
		text = ", of " + f.Owner
	}
	if f.ExpiresAt == "" {
		return text + ", until it is cleared"
	}
	return text + ", until " + f.ExpiresAt
}

// meaning says what a fault does to packets.
func meaning(w api.Fault, s *api.Status) string {
	f, err := fault.Parse(w, fault.Limits{Stored: true, Devices: api.DeviceNames(s.Devices)})
	if err != nil {
		return "its agent is of another version than this program, which does not know what it does"
	}
	return agentwords.Meaning(f, s.Engine, api.DeviceNames(s.Devices))
}

// counted says what was counted of a fault, or that the kernel does not have it.
func counted(f api.FaultStatus) string {
	if !f.Held {
		return "the kernel does not have it as it should be"
	}
	return fmt.Sprintf("%s, %d of them dropped", tidbcluster.Plural(int(f.Counters.Packets), "packet"), f.Counters.Dropped)
}
