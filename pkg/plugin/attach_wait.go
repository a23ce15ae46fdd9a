package plugin

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/attach"
	"github.com/tidelay/tidelay/pkg/plugin/container"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// attachedTime is how long an agent may take to say whether it works.
const attachedTime = 3 * time.Second

// waitAttached waits until attached agents answer, and tells how that goes. It returns the
// names of the pods whose agents do not work.
func (a *app) waitAttached(ctx context.Context, c *Connection, steps []attach.Step, longest time.Duration) (failed []string, err error) {
	timeout := time.NewTimer(longest)
	defer timeout.Stop()
	tick := time.NewTicker(a.Poll)
	defer tick.Stop()
	w := attaching{app: a, Connection: c, last: map[string]string{}}
	for left := steps; ; {
		rest, err := w.look(ctx, left)
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%w: what was attached stays", errInterrupted)
		case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
			return nil, err
		case err != nil: // the API server may answer a moment later
			w.unread(left, err)
		case len(rest) == 0:
			return w.failed, nil
		default:
			left = rest
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-timeout.C:
			for _, s := range left {
				w.end(s, false, fmt.Sprintf("not there after %s: %s", longest, w.last[s.Pod.Name]))
			}
			return w.failed, nil
		}
	}
}

// attaching is a wait for attached agents.
type attaching struct {
	*app
	*Connection
	// last says how the agent of a pod was when it was last looked at, and said what was told
	// of that last.
	last   map[string]string
	said   string
	failed []string
}

// verdict is what was found of an agent.
type verdict struct {
	isDone, works bool
	words         string
}

// look looks at agents once, and returns those that are to be waited for.
func (w *attaching) look(ctx context.Context, steps []attach.Step) ([]attach.Step, error) {
	var pods corev1.PodList
	if err := w.List(ctx, &pods, client.InNamespace(steps[0].Pod.Namespace), client.MatchingLabels(tidbcluster.OperatorLabels())); err != nil {
		return nil, fmt.Errorf("read pods: %w", err)
	}
	found, running := make([]verdict, len(steps)), []*corev1.Pod{}
	for i, s := range steps {
		var pod *corev1.Pod
		if pod, found[i] = attachedTo(pods.Items, s); pod != nil {
			running = append(running, pod)
		}
	}
	replies := agents.Statuses(ctx, w.asker(attachedTime), running)
	var left []attach.Step
	for i, s := range steps {
		if reply, isAsked := replies[s.Pod.Name]; isAsked {
			found[i] = w.judge(reply)
		}
		if w.last[s.Pod.Name] = found[i].words; found[i].isDone {
			w.end(s, found[i].works, found[i].words)
		} else {
			left = append(left, s)
		}
	}
	return left, nil
}

// unread notes that it is not known how agents are.
func (w *attaching) unread(steps []attach.Step, err error) {
	if text := fmt.Sprintf("it is not known how the agents are now: %v", err); text != w.said {
		w.said = text
		w.say("%s", text)
	}
	for _, s := range steps {
		w.last[s.Pod.Name] = "it is not known how it is"
	}
}

// end tells what became of an agent.
func (w *attaching) end(s attach.Step, works bool, words string) {
	if !works {
		w.failed = append(w.failed, s.Pod.Name)
		words = w.Bad(words)
	}
	w.say("%s: %s %s", s.Pod.Name, s.Container.Name, words)
}

// attachedTo returns the pod that an agent was attached to, if the agent runs as far as kubelet
// knows, and else how it is.
func attachedTo(pods []corev1.Pod, s attach.Step) (*corev1.Pod, verdict) {
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.UID == s.Pod.UID })
	if i < 0 {
		return nil, verdict{true, false, "is gone with its pod"}
	}
	switch agent := container.Named(&pods[i], s.Container.Name); agent.Phase() {
	case container.Down:
		return nil, verdict{true, false, agent.Words()}
	case container.Starting:
		return nil, verdict{false, false, agent.Words()}
	default:
		return &pods[i], verdict{}
	}
}

// judge says how an agent that runs is, by what came of asking it.
func (w *attaching) judge(reply agents.Reply[api.Status]) verdict {
	status := reply.Body
	switch outcome := agents.OutcomeOf(reply.Err); {
	case outcome == agents.Forbidden:
		return verdict{true, true, "runs; whether it answers is not known, since you may not " + agents.MissingRight(reply.Err, "get")}
	case outcome == agents.Failed:
		return verdict{false, false, "runs, and asking it failed: " + agents.Cause(reply.Err)}
	case outcome == agents.Unreachable:
		return verdict{false, false, "runs, and does not answer: " + agents.Cause(reply.Err)}
	case reply.Err != nil:
		return verdict{false, false, "runs, and does not say how it is: " + agents.Cause(reply.Err)}
	case status.Engine == api.EngineNone:
		return verdict{true, false, "answers, and no engine works: " + status.Reason}
	default:
		return verdict{true, true, w.Good("answers") + ", engine " + status.Engine + ", version " + status.Version}
	}
}
