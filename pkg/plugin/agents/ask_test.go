package agents_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
)

// slow is a way to agents that take so long for each answer.
type slow time.Duration

func (s slow) Of(context.Context, *corev1.Pod) (*client.Client, error) {
	return client.New("http://agent", client.Options{Transport: s})
}

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(time.Duration(s)):
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("{}"))}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// Each request has a time of its own, and a measurement takes longer by what it measures. None
// takes longer than what a person waits at most.
func TestEachRequestHasItsOwnTime(t *testing.T) {
	for name, c := range map[string]struct {
		takes slow
		most  time.Duration
		talk  func(context.Context, *agents.Agent) error
		want  agents.Outcome
	}{
		"two requests": {slow(4 * time.Second), 0, func(ctx context.Context, a *agents.Agent) error {
			_, err := a.Faults(ctx)
			return errors.Join(err, a.DeleteFaults(ctx), a.DeleteOwned(ctx, "me"))
		}, agents.Answered},
		"too long": {slow(6 * time.Second), 0, func(ctx context.Context, a *agents.Agent) error { return a.DeleteFaults(ctx) }, agents.Unreachable},
		"measured": {slow(14 * time.Second), 0, func(ctx context.Context, a *agents.Agent) error {
			_, err := a.Measure(ctx, api.Measure{}, 10*time.Second)
			return err
		}, agents.Answered},
		"measured too long": {slow(16 * time.Second), 0, func(ctx context.Context, a *agents.Agent) error {
			_, err := a.Measure(ctx, api.Measure{}, 10*time.Second)
			return err
		}, agents.Unreachable},
		"longer than a person waits": {slow(4 * time.Second), 3 * time.Second, func(ctx context.Context, a *agents.Agent) error { return a.DeleteFaults(ctx) }, agents.Unreachable},
		"measured longer than that": {slow(4 * time.Second), 3 * time.Second, func(ctx context.Context, a *agents.Agent) error {
			_, err := a.Measure(ctx, api.Measure{}, 10*time.Second)
			return err
		}, agents.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asker := agents.Asker{Reach: c.takes, Answer: 5 * time.Second, Most: c.most}
				replies := agents.Ask(t.Context(), asker, []*corev1.Pod{pod()}, func(ctx context.Context, a *agents.Agent) (string, error) { return "", c.talk(ctx, a) })
				if got := agents.OutcomeOf(replies[0].Err); got != c.want {
					t.Errorf("%v: %s, want %s", replies[0].Err, got, c.want)
				}
			})
		})
	}
}

// A connection that fails is one to the API server: nobody connects to an agent from here.
func TestCauseOfNoConnection(t *testing.T) {
	err := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	if got := agents.Cause(err); got != "the API server can't be reached: connection refused" || agents.OutcomeOf(err) != agents.Failed {
		t.Errorf("%s, %q", agents.OutcomeOf(err), got)
	}
}
