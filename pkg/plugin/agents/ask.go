package agents

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/client"
)

// atOnce is how many agents are asked at a time.
const atOnce = 32

// Reach is the way to the agent of a pod, as a Proxy is one.
type Reach interface {
	Of(context.Context, *corev1.Pod) (*client.Client, error)
}

// Reply is what came of a request to an agent: its answer, or an error of which OutcomeOf and
// Cause say what it means.
type Reply[T any] struct {
	Body T
	Err  error
}

// Ask sends a request to the agent of each pod, many at a time, and returns the replies in the
// order of the pods. Each has a time limit of its own, so that all take little longer than the
// slowest answer, and one that is silent holds up no other.
func Ask[T any](ctx context.Context, reach Reach, pods []*corev1.Pod, limit time.Duration, request func(context.Context, *client.Client) (T, error)) []Reply[T] {
	replies := make([]Reply[T], len(pods))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, pod := range pods {
		group.Go(func() error {
			one, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			agent, err := reach.Of(one, pod)
			if err == nil {
				replies[i].Body, err = request(one, agent)
			}
			replies[i].Err = err
			return nil
		})
	}
	_ = group.Wait() // every error is in its reply
	return replies
}
