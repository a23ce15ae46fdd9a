package explain

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/networkfault/facts"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
)

// askTime is how long an agent may take to say how it is.
const askTime = 10 * time.Second

// Agent is the agent in a pod.
type Agent struct {
	// State is what kubelet says of its container.
	State string `json:"state"`
	// Written is what the injector wrote into the pod; nil if that is not there, or can't be
	// read.
	Written *injection.Status `json:"written,omitempty"`
	// Admission is the UID of the admission that added it, as the injector wrote it.
	Admission string `json:"admission,omitempty"`
	// Outcome is how asking it went, "" if it was not asked. Error is what is wrong with that.
	Outcome agents.Outcome `json:"outcome,omitempty"`
	Error   string         `json:"error,omitempty"`
	// right is what the person lacks, if asking it was forbidden.
	right string
	// Status is its answer; nil if there is none.
	Status *api.Status `json:"status,omitempty"`
}

// readAgent reads what is known of the agent in a pod; nil if there is none. One that has
// ended is not asked.
func readAgent(ctx context.Context, all Agents, pod *corev1.Pod) *Agent {
	if !injection.HasAgent(pod) {
		return nil
	}
	a := &Agent{State: state(pod), Admission: pod.Annotations[injection.AdmissionAnnotation]}
	var written injection.Status
	if err := json.Unmarshal([]byte(pod.Annotations[injection.StatusAnnotation]), &written); err == nil {
		a.Written = &written
	}
	if facts.HasEnded(pod) {
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	status, err := ask(ctx, all, pod)
	if a.Outcome = agents.OutcomeOf(err); err != nil {
		a.Error, a.right = agents.Cause(err), agents.Right(err, "get")
		return a
	}
	a.Status = &status
	return a
}

func ask(ctx context.Context, all Agents, pod *corev1.Pod) (api.Status, error) {
	agent, err := all.Of(ctx, pod)
	if err != nil {
		return api.Status{}, err
	}
	return agent.Status(ctx)
}

// state says how the agent's container is.
func state(pod *corev1.Pod) string {
	status := facts.Agent(pod)
	var text string
	switch s := status.State; {
	case s.Running != nil:
		text = "running"
	case s.Waiting != nil:
		text = cmp.Or(s.Waiting.Reason, "waiting")
	case s.Terminated != nil:
		text = cmp.Or(s.Terminated.Reason, "ended")
	default:
		text = "not known: kubelet says nothing of it"
	}
	if status.RestartCount > 0 {
		text += fmt.Sprintf(", started again %d times", status.RestartCount)
	}
	return text
}
