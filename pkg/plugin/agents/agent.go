package agents

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

// Agent is the agent of a pod that is talked to. Each request has a time limit of its own, so
// that a second one may take as long as the first. It is in the limit that the agents' token is
// read, where they ask for one.
type Agent struct {
	Pod   *corev1.Pod
	asker Asker
}

// request sends a request that has an agent work for a while, and waits so much longer.
func request[T any](ctx context.Context, a *Agent, work time.Duration, send func(context.Context, *client.Client) (T, error)) (T, error) {
	limit := work + a.asker.Answer
	if a.asker.Most > 0 {
		limit = min(limit, a.asker.Most)
	}
	one, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	to, err := a.asker.Of(one, a.Pod)
	if err != nil {
		var none T
		return none, err
	}
	return send(one, to)
}

// Status asks an agent how it is.
func (a *Agent) Status(ctx context.Context) (api.Status, error) {
	return request(ctx, a, 0, func(ctx context.Context, to *client.Client) (api.Status, error) { return to.Status(ctx) })
}

// Faults asks an agent which faults it holds.
func (a *Agent) Faults(ctx context.Context) ([]api.Fault, error) {
	return request(ctx, a, 0, func(ctx context.Context, to *client.Client) ([]api.Fault, error) {
		answer, err := to.Faults(ctx)
		return answer.Body.Faults, err
	})
}

// DeleteFaults has an agent end all faults.
func (a *Agent) DeleteFaults(ctx context.Context) error {
	_, err := request(ctx, a, 0, func(ctx context.Context, to *client.Client) (client.Answer[api.Changes], error) {
		return to.DeleteFaults(ctx)
	})
	return err
}

// DeleteOwned has an agent end the faults of an owner.
func (a *Agent) DeleteOwned(ctx context.Context, owner string) error {
	_, err := request(ctx, a, 0, func(ctx context.Context, to *client.Client) (client.Answer[api.Changes], error) {
		return to.ReplaceOwned(ctx, owner, nil)
	})
	return err
}

// Measure has an agent measure, which takes at most so long.
func (a *Agent) Measure(ctx context.Context, m api.Measure, longest time.Duration) (api.Measurements, error) {
	return request(ctx, a, longest, func(ctx context.Context, to *client.Client) (api.Measurements, error) { return to.Measure(ctx, m) })
}
