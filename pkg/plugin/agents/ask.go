package agents

import (
	"cmp"
	"context"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

// atOnce is how many agents are talked to at a time where an Asker does not say so.
const atOnce = 32

// Reach is the way to the agent of a pod, as a Proxy is one.
type Reach interface {
	// Of returns a client of the agent in a pod, and in no other pod of that name.
	Of(context.Context, *corev1.Pod) (*client.Client, error)
}

// Asker asks agents, and waits for each answer for at most a while.
type Asker struct {
	Reach
	// Answer is how long an agent may take to answer a request, beside what it measures; above 0.
	Answer time.Duration
	// Most is how long a request may take in all; 0 for no such limit.
	Most time.Duration
	// AtOnce is how many agents are talked to at a time; 32 if it is 0.
	AtOnce int
}

// Reply is what came of talking to an agent: its answer, or an error of which OutcomeOf and
// Cause say what it means.
type Reply[T any] struct {
	Body T
	Err  error
}

// Ask talks to the agent of each pod, many at a time, and returns the replies in the order of
// the pods. All take little longer than the slowest, and one that is silent holds up no other.
func Ask[T any](ctx context.Context, asker Asker, pods []*corev1.Pod, talk func(context.Context, *Agent) (T, error)) []Reply[T] {
	replies := make([]Reply[T], len(pods))
	var group errgroup.Group
	group.SetLimit(cmp.Or(asker.AtOnce, atOnce))
	for i, pod := range pods {
		group.Go(func() error {
			replies[i].Body, replies[i].Err = talk(ctx, &Agent{pod, asker})
			return nil
		})
	}
	_ = group.Wait() // every error is in its reply
	return replies
}

// Statuses asks the agent of each pod how it is. The replies are by the names of the pods.
func Statuses(ctx context.Context, asker Asker, pods []*corev1.Pod) map[string]Reply[api.Status] {
	replies := map[string]Reply[api.Status]{}
	for i, reply := range Ask(ctx, asker, pods, func(ctx context.Context, a *Agent) (api.Status, error) { return a.Status(ctx) }) {
		replies[pods[i].Name] = reply
	}
	return replies
}
