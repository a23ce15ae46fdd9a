package plugin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/attach"
	"github.com/tidelay/tidelay/pkg/plugin/container"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// How agents are asked whether they work.
const (
	askTime   = 3 * time.Second
	askAtOnce = 8
)

// waitAttached waits until attached agents answer, and tells how that goes. It returns the
// names of the pods whose agents do not work.
func (a *app) waitAttached(ctx context.Context, c *Connection, steps []attach.Step, longest time.Duration) (failed []string, err error) {
	timeout := time.NewTimer(longest)
	defer timeout.Stop()
	tick := time.NewTicker(a.Poll)
	defer tick.Stop()
	w := attaching{app: a, Connection: c, last: map[string]string{}}
	for left := steps; ; {
		if left, err = w.look(ctx, left); ctx.Err() != nil {
			return nil, fmt.Errorf("%w: what was attached stays", errInterrupted)
		}
		if err != nil {
			return nil, err
		}
		if len(left) == 0 {
			return w.failed, nil
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
	// last says how the agent of a pod was when it was last looked at.
	last   map[string]string
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
	found := make([]verdict, len(steps))
	var group errgroup.Group
	group.SetLimit(askAtOnce)
	for i, s := range steps {
		group.Go(func() error {
			found[i] = w.judge(ctx, pods.Items, s)
			return nil
		})
	}
	_ = group.Wait() // none fails
	var left []attach.Step
	for i, s := range steps {
		if w.last[s.Pod.Name] = found[i].words; found[i].isDone {
			w.end(s, found[i].works, found[i].words)
		} else {
			left = append(left, s)
		}
	}
	return left, nil
}

// end tells what became of an agent.
func (w *attaching) end(s attach.Step, works bool, words string) {
	if !works {
		w.failed = append(w.failed, s.Pod.Name)
		words = w.Bad(words)
	}
	w.say("%s: %s %s", s.Pod.Name, s.Container.Name, words)
}

// judge finds out how an agent is.
func (w *attaching) judge(ctx context.Context, pods []corev1.Pod, s attach.Step) verdict {
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.UID == s.Pod.UID })
	if i < 0 {
		return verdict{true, false, "is gone with its pod"}
	}
	switch agent := container.Named(&pods[i], s.Container.Name); agent.Phase() {
	case container.Down:
		return verdict{true, false, agent.Words()}
	case container.Starting:
		return verdict{false, false, agent.Words()}
	default:
		return w.ask(ctx, &pods[i])
	}
}

// ask asks the agent of a pod, which runs, whether it works.
func (w *attaching) ask(ctx context.Context, pod *corev1.Pod) verdict {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	agent, err := w.Agents.Of(ctx, pod)
	var status api.Status
	if err == nil {
		status, err = agent.Status(ctx)
	}
	switch {
	case agents.OutcomeOf(err) == agents.Forbidden:
		return verdict{true, true, "runs; whether it answers is not known, since you may not " + agents.MissingRight(err, "get")}
	case err != nil:
		return verdict{false, false, "runs, and does not answer: " + err.Error()}
	case status.Engine == api.EngineNone:
		return verdict{true, false, "answers, and no engine works: " + status.Reason}
	default:
		return verdict{true, true, w.Good("answers") + ", engine " + status.Engine + ", version " + status.Version}
	}
}
