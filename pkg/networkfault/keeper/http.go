package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// connectTime is how long a connection may take, which no fault delays: in that time
// the first packet is sent twice.
const connectTime = 2 * time.Second

// maxAnswer is how many bytes of an answer are read. That about 15 faults of 512 peers each
// has about half as many.
const maxAnswer = 1 << 20

// errNotSent is for a request that was not sent, for a cause that is not the agent's.
var errNotSent = errors.New("not asked")

// Tokens returns the token of the agents in a namespace; empty for none.
type Tokens func(ctx context.Context, namespace string) (string, error)

// NewAgents returns what asks agents by HTTP, at their pods' addresses.
func NewAgents(tokens Tokens) Agents { return newHTTPAgents(tokens) }

func newHTTPAgents(tokens Tokens) *httpAgents {
	dialer := &net.Dialer{Timeout: connectTime}
	return &httpAgents{tokens: tokens, transport: &http.Transport{
		DialContext: dialer.DialContext,
		// The next request comes a minute later, and ten thousand open connections would
		// need more memory than all else.
		DisableKeepAlives: true,
	}}
}

type httpAgents struct {
	tokens    Tokens
	transport *http.Transport
}

// token returns the token that an agent is sent; "" for none.
func (h *httpAgents) token(ctx context.Context, t Target) (string, error) {
	if t.IsOpen {
		return "", nil
	}
	return h.tokens(ctx, t.Pod.Namespace)
}

// Replace implements Agents.
func (h *httpAgents) Replace(ctx context.Context, t Target, faults []api.Fault) (api.Changes, error) {
	token, err := h.token(ctx, t)
	if err != nil {
		return api.Changes{}, fmt.Errorf("%w: read agents' token: %w", errNotSent, err)
	}
	agent, err := client.New(client.URL(t.Addr.String()), client.Options{Token: token, PodUID: string(t.UID), MaxAnswer: maxAnswer, Transport: h.transport})
	if err != nil {
		return api.Changes{}, fmt.Errorf("%w: %w", errNotSent, err)
	}
	answer, err := agent.ReplaceOwned(ctx, decide.Owner, faults)
	return answer.Body, err
}
