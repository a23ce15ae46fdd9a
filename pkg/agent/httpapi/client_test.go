package httpapi_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
)

// newClient returns a client of a server that asks for a token.
func newClient(t *testing.T, e *enginetest.Engine, changes ...func(*httpapi.Config)) *client.Client {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newTestServer(t, e, append(changes, func(c *httpapi.Config) { c.TokenFile = file })...)
	c, err := client.New(s.url, client.Options{Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// refusal is the *client.Error of an error, an empty one if there is none.
func refusal(err error) client.Error {
	if refused, ok := errors.AsType[*client.Error](err); ok {
		return *refused
	}
	return client.Error{}
}

// Pkg/agent/client and this package mean the same by every route.
func TestTheClientAndTheServerAgree(t *testing.T) {
	e := &enginetest.Engine{}
	agent, ctx := newClient(t, e), t.Context()

	latency, err := agent.SetLatency(ctx, client.Delay{Delay: "20ms", Jitter: "5ms", Correlation: 25, Distribution: "normal", Direction: "both", Duration: "1h"})
	if err != nil || latency.Body.RTT != "+40ms±10ms" || latency.Body.Fault.Correlation != 25 || latency.Body.ExpiresAt == nil || latency.ETag == "" {
		t.Fatalf("set latency: %+v, %v", latency, err)
	}
	if read, err := agent.Latency(ctx); err != nil || read.ETag != latency.ETag || read.Body.Fault == nil {
		t.Errorf("read latency: %+v, %v", read, err)
	}
	planned, err := agent.SetFault(ctx, api.Fault{Name: "slow-store", Peers: []string{"10.0.0.5"}, Delay: "1ms"}, client.DryRun())
	if err != nil || planned.Body.Applied || planned.ETag != "" || len(e.Get().Faults) != 1 {
		t.Errorf("dry run: %+v, %v", planned, err)
	}
	changes, err := agent.SetFault(ctx, api.Fault{Name: "slow-store", Peers: []string{"10.0.0.5"}, Delay: "1ms"}, client.IfMatch(latency.ETag), client.Verify("10.0.0.5:20160"))
	if err != nil || !changes.Body.Applied || changes.Body.Verified == nil || changes.ETag == latency.ETag {
		t.Errorf("set fault: %+v, %v", changes, err)
	}
	if _, err := agent.ReplaceFaults(ctx, nil, client.IfMatch(latency.ETag)); refusal(err).Status != 412 {
		t.Errorf("an old ETag: %v", err)
	}
	if one, err := agent.Fault(ctx, "slow-store"); err != nil || one.Body.Delay != "1ms" || one.ETag != changes.ETag {
		t.Errorf("read fault: %+v, %v", one, err)
	}
	if _, err := agent.DeleteFault(ctx, "nobody"); refusal(err).Status != 404 {
		t.Errorf("no such fault: %v", err)
	}
	if _, err := agent.DeleteFault(ctx, "slow-store"); err != nil {
		t.Error(err)
	}
	if cleared, err := agent.ClearLatency(ctx); err != nil || cleared.Body.Fault != nil {
		t.Errorf("clear latency: %+v, %v", cleared, err)
	}
	if _, err := agent.ReplaceFaults(ctx, []api.Fault{{Name: "a", Partition: true}}); err != nil {
		t.Error(err)
	}
	if set, err := agent.Faults(ctx); err != nil || len(set.Body.Faults) != 1 || !set.Body.Faults[0].Partition {
		t.Errorf("faults: %+v, %v", set, err)
	}
	if status, err := agent.Status(ctx); err != nil || status.Engine != api.EngineNetem || len(status.Faults) != 1 || !status.Faults[0].Held {
		t.Errorf("status: %+v, %v", status, err)
	}
	if measured, err := agent.Measure(ctx, api.Measure{Targets: []string{"10.0.0.5"}, Count: 2}); err != nil || len(measured.Results) != 1 {
		t.Errorf("measure: %+v, %v", measured, err)
	}
	_, err = agent.SetLatency(ctx, client.Delay{Delay: "20m"})
	if refused := refusal(err); refused.Status != 400 || refused.Type == "" || len(refused.Errors) != 1 || refused.Errors[0].Field != "delay" {
		t.Errorf("a bad delay: %v", err)
	}
}

func TestTheClientReadsTexts(t *testing.T) {
	agent, ctx := newClient(t, &enginetest.Engine{}), t.Context()
	if err := agent.Health(ctx); err != nil {
		t.Error(err)
	}
	for want, read := range map[string]func() (string, error){
		"ok: engine netem: because": func() (string, error) { return agent.Ready(ctx) },
		`"openapi": "3.1`:           func() (string, error) { return agent.OpenAPI(ctx) },
		"tidelay_agent_info":        func() (string, error) { return agent.Metrics(ctx) },
	} {
		if got, err := read(); err != nil || !strings.Contains(got, want) {
			t.Errorf("%.100q, %v; want %s", got, err, want)
		}
	}
	none := newClient(t, &enginetest.Engine{}, func(c *httpapi.Config) { c.Engine = engine(api.EngineNone, "no netem") })
	if _, err := none.Ready(ctx); refusal(err).Status != 503 || refusal(err).Detail != "not ready: no netem" {
		t.Errorf("no engine: %v", err)
	}
}
