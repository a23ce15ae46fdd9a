package report

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/explain"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/container"
	"github.com/tidelay/tidelay/pkg/plugin/look"
)

// The states of an agent. One that was not asked has the word of its container: "running", or
// kubelet's reason, such as "CrashLoopBackOff".
const (
	// None is that the pod has no agent.
	None = "none"
	// Unknown is that asking it failed on the way.
	Unknown = "unknown"
	// Running is that it runs, and was not asked.
	Running = "running"
	// Answers is that it has answered.
	Answers = "answers"
	// Silent is that it runs and nobody answers.
	Silent = "silent"
	// Old is that it is too old to know the question.
	Old = "old"
	// Refuses is that it answers with an error.
	Refuses = "refuses"
)

// Agent is how the agent of a pod is.
type Agent struct {
	State string `json:"state"`
	// Reason says why it does not answer, why no engine works, or why the pod has none.
	Reason string `json:"reason,omitempty"`
	// Kind is "sidecar" for a container beside the database's, "native" for a native sidecar, and
	// "attached" for an ephemeral container.
	Kind    container.Kind `json:"kind,omitempty"`
	Engine  string         `json:"engine,omitempty"`
	Version string         `json:"version,omitempty"`
	// Warnings are the agent's own.
	Warnings []string `json:"warnings,omitempty"`
	// Faults are what it holds.
	Faults []Held `json:"faults,omitempty"`
}

// Held is a fault that an agent holds.
type Held struct {
	Name string `json:"name"`
	// Owner is the program that set it; empty for a person.
	Owner string `json:"owner,omitempty"`
	// What is what it does to which packets; empty if this program does not know it.
	What string `json:"what,omitempty"`
	// Ends is when it ends by itself; null if it stays until it is cleared. The controller
	// renews its own.
	Ends *metav1.Time `json:"ends,omitempty"`
	// InKernel is whether the kernel has all of it.
	InKernel bool `json:"inKernel"`
	// Objects are the names of the faults and topologies that it comes from, if the
	// controller set it.
	Objects []string `json:"objects,omitempty"`
	// IsLeft is whether the controller set it, and nothing asks for it any more.
	IsLeft bool `json:"left,omitempty"`
}

// isByHand reports whether somebody else than the controller has set it.
func (h *Held) isByHand() bool { return h.Owner != decide.Owner }

// agentOf says how the agent of a pod is as far as kubelet knows.
func agentOf(p look.Pod) Agent {
	agent, has := container.Of(p.Pod)
	if !has {
		return Agent{State: None, Reason: p.Annotations[injection.NotInjectedAnnotation]}
	}
	return Agent{State: agent.Word(), Kind: agent.Kind}
}

// answered adds what the agent has answered, or why it has not.
func (a *Agent) answered(reply agents.Reply[api.Status]) {
	switch outcome := agents.OutcomeOf(reply.Err); {
	case outcome == agents.Forbidden:
		return // it is as if it had not been asked
	case reply.Err == nil:
		a.State = Answers
	case outcome == agents.Answered && agents.IsOld(reply.Err):
		a.State, a.Reason = Old, "it does not know "+api.PathStatus
		return
	case outcome == agents.Answered:
		a.State, a.Reason = Refuses, agents.Cause(reply.Err)
		return
	case outcome == agents.Unreachable:
		a.State, a.Reason = Silent, agents.Cause(reply.Err)
		return
	default:
		a.State, a.Reason = Unknown, agents.Cause(reply.Err)
		return
	}
	a.Engine, a.Version, a.Warnings = reply.Body.Engine, reply.Body.Version, reply.Body.Warnings
	if a.Engine == api.EngineNone {
		a.Reason = reply.Body.Reason
	}
	for _, f := range reply.Body.Faults {
		a.Faults = append(a.Faults, heldOf(f))
	}
}

// ByHand returns those of the faults of an agent that somebody else than the controller has set.
func ByHand(faults []api.FaultStatus) []Held {
	var all []Held
	for _, f := range faults {
		if h := heldOf(f); h.isByHand() {
			all = append(all, h)
		}
	}
	return all
}

// heldOf returns a fault as the agent tells it.
func heldOf(f api.FaultStatus) Held {
	h := Held{Name: f.Name, Owner: f.Owner, InKernel: f.Held}
	if ends, err := time.Parse(time.RFC3339, f.ExpiresAt); err == nil {
		h.Ends = &metav1.Time{Time: ends}
	}
	wire := f.Fault
	wire.Owner, wire.Duration, wire.ExpiresAt = "", "", ""
	if parsed, err := fault.Parse(wire, fault.Limits{Stored: true}); err == nil { // a newer agent may have others
		h.What = explain.Summary(&parsed)
	}
	return h
}

// unseenAgents says what may not be seen of agents, and which right would show it.
func unseenAgents(in Input) []string {
	for _, p := range in.Cluster.Pods {
		err := in.Replies[p.Name].Err
		if agents.OutcomeOf(err) != agents.Forbidden {
			continue
		}
		return []string{fmt.Sprintf("you may not ask agents, so this is not known: their engines, versions and warnings, what they hold, and faults set by hand; the right to %s would show it", agents.MissingRight(err, "get"))}
	}
	return nil
}
