package explain

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/networkfault/facts"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/container"
)

// Agent is the agent in a pod.
type Agent struct {
	// Kind is the way in which it is in the pod, and State says how its container is.
	Kind  container.Kind `json:"kind"`
	State string         `json:"state"`
	// Container is the name of its container.
	Container string `json:"container"`
	// Lost says how an attached agent has ended that no other one follows.
	Lost string `json:"lost,omitempty"`
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
func readAgent(ctx context.Context, asker agents.Asker, pod *corev1.Pod) *Agent {
	agent, has := container.Of(pod)
	if !has {
		return nil
	}
	a := &Agent{
		Kind: agent.Kind, State: agent.Word(), Container: agent.Container.Name, Lost: container.Lost(pod),
		Admission: pod.Annotations[injection.AdmissionAnnotation],
	}
	if again := agent.Status.RestartCount; again > 0 {
		a.State += fmt.Sprintf(", started again %d times", again)
	}
	var written injection.Status
	if err := json.Unmarshal([]byte(pod.Annotations[injection.StatusAnnotation]), &written); err == nil {
		a.Written = &written
	}
	if facts.HasEnded(pod) {
		return a
	}
	reply := agents.Statuses(ctx, asker, []*corev1.Pod{pod})[pod.Name]
	if a.Outcome = agents.OutcomeOf(reply.Err); reply.Err != nil {
		a.Error, a.right = agents.Cause(reply.Err), agents.MissingRight(reply.Err, "get")
		return a
	}
	a.Status = &reply.Body
	return a
}
