package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Answer is what an agent answers about faults.
type Answer[T any] struct {
	// Body is the answer's JSON.
	Body T
	// ETag names the pod's set of faults, for IfMatch; empty after a dry run.
	ETag string
}

// ChangeOption says on what terms a change is made.
type ChangeOption func(*request)

// DryRun only finds out whether the change can be made, and what it would do.
func DryRun() ChangeOption {
	return func(r *request) { r.query.Set("dryRun", "true") }
}

// Verify measures the RTT to a peer before and after the change; the answer
// has the comparison. The peer is "IP" for ping or "IP:PORT" for TCP.
func Verify(peer string) ChangeOption {
	return func(r *request) {
		r.query.Set("verify", "true")
		r.query.Set("peer", peer)
	}
}

// IfMatch makes the change only while the pod's set of faults is the one that
// the entity tag names (RFC 9110, 13.1.1). Else the error has status 412.
func IfMatch(etag string) ChangeOption {
	return func(r *request) { r.ifMatch = etag }
}

// change is a request with options.
func change(method, path string, body any, options []ChangeOption) request {
	r := request{method: method, path: path, query: url.Values{}, body: body}
	for _, option := range options {
		option(&r)
	}
	return r
}

// Delay is what SetLatency asks for. The fields are those of api.Fault; what is
// empty has the agent's default.
type Delay struct {
	// Delay is one way: "20ms", "500us", "1s"; "0" removes the fault, and then
	// nothing else may be given.
	Delay                   string
	Jitter                  string
	Correlation             float64 // percent
	Distribution, Direction string
	Duration                string
}

// SetLatency adds or replaces the fault named latency.
func (c *Client) SetLatency(ctx context.Context, d Delay, options ...ChangeOption) (Answer[api.Latency], error) {
	r := change(http.MethodGet, api.PathLatency+"/"+url.PathEscape(d.Delay), nil, options)
	for name, value := range map[string]string{
		"jitter": d.Jitter, "distribution": d.Distribution, "direction": d.Direction, "duration": d.Duration,
	} {
		if value != "" {
			r.query.Set(name, value)
		}
	}
	if d.Correlation != 0 {
		r.query.Set("correlation", strconv.FormatFloat(d.Correlation, 'f', -1, 64))
	}
	return ask[api.Latency](ctx, c, r)
}

// Latency reads the fault named latency, as the kernel has it.
func (c *Client) Latency(ctx context.Context) (Answer[api.Latency], error) {
	return ask[api.Latency](ctx, c, request{method: http.MethodGet, path: api.PathLatency})
}

// ClearLatency removes the fault named latency. That there is none is no
// error.
func (c *Client) ClearLatency(ctx context.Context, options ...ChangeOption) (Answer[api.Latency], error) {
	return ask[api.Latency](ctx, c, change(http.MethodDelete, api.PathLatency, nil, options))
}

// Faults reads the desired state.
func (c *Client) Faults(ctx context.Context) (Answer[api.FaultSet], error) {
	return ask[api.FaultSet](ctx, c, request{method: http.MethodGet, path: api.PathFaults})
}

// ReplaceFaults replaces all faults of the pod at once, whoever set them; without any it removes
// those there are.
func (c *Client) ReplaceFaults(ctx context.Context, faults []api.Fault, options ...ChangeOption) (Answer[api.Changes], error) {
	if faults == nil {
		faults = []api.Fault{} // the agent refuses null, which is more likely a mistake
	}
	return ask[api.Changes](ctx, c, change(http.MethodPut, api.PathFaults, api.FaultSet{Faults: faults}, options))
}

// ReplaceOwned replaces the faults of one owner at once and leaves all others;
// without any it removes the owner's. The faults get the owner. To set the same
// faults again renews their lives and changes nothing else. The error has status
// 409 if somebody else has a fault of the same name.
func (c *Client) ReplaceOwned(ctx context.Context, owner string, faults []api.Fault, options ...ChangeOption) (Answer[api.Changes], error) {
	if owner == "" {
		return Answer[api.Changes]{}, errors.New("owner of faults: want a name") // without one it would replace the faults of all
	}
	if faults == nil {
		faults = []api.Fault{}
	}
	r := change(http.MethodPut, api.PathFaults, api.FaultSet{Faults: faults}, options)
	r.query.Set("owner", owner)
	return ask[api.Changes](ctx, c, r)
}

// DeleteFaults removes all faults, those of every owner. That there are none is
// no error.
func (c *Client) DeleteFaults(ctx context.Context, options ...ChangeOption) (Answer[api.Changes], error) {
	return ask[api.Changes](ctx, c, change(http.MethodDelete, api.PathFaults, nil, options))
}

// Fault reads one fault of the desired state. The error has status 404 when
// there is none of that name.
func (c *Client) Fault(ctx context.Context, name string) (Answer[api.Fault], error) {
	path, err := faultPath(name)
	if err != nil {
		return Answer[api.Fault]{}, err
	}
	return ask[api.Fault](ctx, c, request{method: http.MethodGet, path: path})
}

// SetFault adds a fault or replaces that of its name, and leaves the others.
func (c *Client) SetFault(ctx context.Context, f api.Fault, options ...ChangeOption) (Answer[api.Changes], error) {
	path, err := faultPath(f.Name)
	if err != nil {
		return Answer[api.Changes]{}, err
	}
	return ask[api.Changes](ctx, c, change(http.MethodPut, path, f, options))
}

// DeleteFault removes one fault. The error has status 404 when there is none of
// that name.
func (c *Client) DeleteFault(ctx context.Context, name string, options ...ChangeOption) (Answer[api.Changes], error) {
	path, err := faultPath(name)
	if err != nil {
		return Answer[api.Changes]{}, err
	}
	return ask[api.Changes](ctx, c, change(http.MethodDelete, path, nil, options))
}

// faultPath is the path of one fault. The names that it refuses would lead a
// request to another route, and the agent accepts none of them.
func faultPath(name string) (string, error) {
	switch name {
	case "", ".", "..":
		return "", fmt.Errorf("fault name %q: want a name", name)
	default:
		return api.PathFaults + "/" + url.PathEscape(name), nil
	}
}

// Status reads what the agent can do, what it was asked for and what the kernel
// has of that.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	answer, err := ask[api.Status](ctx, c, request{method: http.MethodGet, path: api.PathStatus})
	return answer.Body, err
}

// Measure measures the RTT from the pod to other hosts. An agent does one
// measurement at a time: the error has status 429 beside another one.
func (c *Client) Measure(ctx context.Context, m api.Measure) (api.Measurements, error) {
	answer, err := ask[api.Measurements](ctx, c, request{method: http.MethodPost, path: api.PathMeasure, body: m})
	return answer.Body, err
}

// Health returns nil when the agent's process answers. It needs no token.
func (c *Client) Health(ctx context.Context) error {
	_, err := c.text(ctx, api.PathHealthz)
	return err
}

// Ready returns which engine runs and why, in words. The error has status 503
// when none works here. It needs no token.
func (c *Client) Ready(ctx context.Context) (string, error) { return c.text(ctx, api.PathReadyz) }

// OpenAPI reads the description of the API, OpenAPI 3.1 in JSON.
func (c *Client) OpenAPI(ctx context.Context) (string, error) { return c.text(ctx, api.PathOpenAPI) }

// Metrics reads the agent's metrics in Prometheus' text format.
func (c *Client) Metrics(ctx context.Context) (string, error) { return c.text(ctx, api.PathMetrics) }

func (c *Client) text(ctx context.Context, path string) (string, error) {
	_, content, err := c.send(ctx, request{method: http.MethodGet, path: path})
	return string(content), err
}
