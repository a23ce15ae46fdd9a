package explain

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/networkfault/facts"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
)

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
	// Status is its answer; nil if there is none.
	Status *api.Status `json:"status,omitempty"`
}

// readAgent reads what is known of the agent in a pod; nil if there is none. One that has
// ended is not asked.
func readAgent(ctx context.Context, asker agents.Asker, pod *corev1.Pod) *Agent {
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
	reply := agents.Statuses(ctx, asker, []*corev1.Pod{pod})[pod.Name]
	if a.Outcome = agents.OutcomeOf(reply.Err); reply.Err != nil {
		a.Error = agents.Cause(reply.Err)
		return a
	}
	a.Status = &reply.Body
	return a
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
