package surveyor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// connectTime is how long a connection to an agent may take, which no fault delays.
const connectTime = 2 * time.Second

// maxAnswer is how many bytes of an answer are read. The largest is a status of 15 faults of
// 512 peers each, which are at most 48 bytes long.
const maxAnswer = 1 << 20

// Tokens returns the token of the agents in a namespace; empty for none.
type Tokens func(ctx context.Context, namespace string) (string, error)

// NewAgents returns what asks agents by HTTP, at their pods' addresses.
func NewAgents(tokens Tokens) Agents { return newHTTPAgents(tokens) }

func newHTTPAgents(tokens Tokens) *httpAgents {
	dialer := &net.Dialer{Timeout: connectTime}
	return &httpAgents{tokens: tokens, transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
}

type httpAgents struct {
	tokens    Tokens
	transport *http.Transport
}

// Measure implements Agents.
func (h *httpAgents) Measure(ctx context.Context, t Target, m api.Measure) (api.Measurements, error) {
	agent, err := h.client(ctx, t)
	if err != nil {
		return api.Measurements{}, err
	}
	return agent.Measure(ctx, m)
}

// Status implements Agents.
func (h *httpAgents) Status(ctx context.Context, t Target) (api.Status, error) {
	agent, err := h.client(ctx, t)
	if err != nil {
		return api.Status{}, err
	}
	return agent.Status(ctx)
}

func (h *httpAgents) client(ctx context.Context, t Target) (*client.Client, error) {
	var token string
	if !t.IsOpen {
		var err error
		if token, err = h.tokens(ctx, t.Pod.Namespace); err != nil {
			return nil, fmt.Errorf("read agents' token: %w", err)
		}
	}
	return client.New(client.URL(t.Addr.String()), client.Options{Token: token, PodUID: string(t.UID), MaxAnswer: maxAnswer, Transport: h.transport})
}

// judge says what the measurements of an agent mean.
func judge(c verify.Check, answer api.Measurements, err error) verify.Judgement {
	switch {
	case err != nil:
		return unanswered(err)
	case len(answer.Results) != 2:
		return verify.Judgement{Outcome: verify.Failed, Why: fmt.Sprintf("its agent answered with %d measurements of 2", len(answer.Results))}
	default:
		return c.Judge(answer.Results[0], answer.Results[1])
	}
}

// unanswered says what it means that an agent neither measured nor told its counters.
func unanswered(err error) verify.Judgement {
	if refusal, ok := errors.AsType[*client.Error](err); ok {
		switch refusal.Status {
		case http.StatusTooManyRequests:
			return verify.Judgement{Outcome: verify.Busy}
		case http.StatusNotFound, http.StatusMethodNotAllowed:
			return verify.Judgement{Outcome: verify.Unable, Why: "its agent is of a version that does not measure"}
		}
	}
	return verify.Judgement{Outcome: verify.Failed, Why: "its agent did not measure: " + client.Cause(err)}
}
