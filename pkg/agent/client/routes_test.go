package client_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

func TestRequests(t *testing.T) {
	const jsonType = "application/json"
	for name, c := range map[string]struct {
		call func(context.Context, *client.Client) error
		want sent
	}{
		"set a latency": {
			func(ctx context.Context, c *client.Client) error {
				_, err := c.SetLatency(ctx, client.Delay{Delay: "20ms"})
				return err
			}, sent{Line: "GET /latency/20ms"},
		},
		"set all of a latency": {
			func(ctx context.Context, c *client.Client) error {
				d := client.Delay{Delay: "20ms", Jitter: "5ms", Correlation: 12.5, Distribution: "normal", Direction: "both", Duration: "1h30m"}
				_, err := c.SetLatency(ctx, d, client.DryRun(), client.IfMatch(`"a"`))
				return err
			}, sent{Line: "GET /latency/20ms?correlation=12.5&direction=both&distribution=normal&dryRun=true&duration=1h30m&jitter=5ms", IfMatch: `"a"`},
		},
		"a delay that is none stays one segment": {
			func(ctx context.Context, c *client.Client) error {
				_, err := c.SetLatency(ctx, client.Delay{Delay: "20ms/../x?y#z"})
				return err
			}, sent{Line: "GET /latency/20ms%2F..%2Fx%3Fy%23z"},
		},
		"read the latency": {
			func(ctx context.Context, c *client.Client) error { _, err := c.Latency(ctx); return err }, sent{Line: "GET /latency"},
		},
		"clear the latency": {
			func(ctx context.Context, c *client.Client) error { _, err := c.ClearLatency(ctx); return err }, sent{Line: "DELETE /latency"},
		},
		"read the faults": {
			func(ctx context.Context, c *client.Client) error { _, err := c.Faults(ctx); return err }, sent{Line: "GET /v1/faults"},
		},
		"replace the faults": {
			func(ctx context.Context, c *client.Client) error {
				_, err := c.ReplaceFaults(ctx, []api.Fault{{Name: "a", Delay: "1ms"}}, client.Verify("[fd00::5]:20160"))
				return err
			}, sent{Line: "PUT /v1/faults?peer=%5Bfd00%3A%3A5%5D%3A20160&verify=true", Body: `{"faults":[{"name":"a","delay":"1ms"}]}`, ContentType: jsonType},
		},
		"no faults are a list too": {
			func(ctx context.Context, c *client.Client) error { _, err := c.ReplaceFaults(ctx, nil); return err },
			sent{Line: "PUT /v1/faults", Body: `{"faults":[]}`, ContentType: jsonType},
		},
		"replace an owner's faults": {
			func(ctx context.Context, c *client.Client) error {
				_, err := c.ReplaceOwned(ctx, "shop.a", []api.Fault{{Name: "a", Delay: "1ms"}}, client.DryRun())
				return err
			}, sent{Line: "PUT /v1/faults?dryRun=true&owner=shop.a", Body: `{"faults":[{"name":"a","delay":"1ms"}]}`, ContentType: jsonType},
		},
		"an owner without faults": {
			func(ctx context.Context, c *client.Client) error { _, err := c.ReplaceOwned(ctx, "b", nil); return err },
			sent{Line: "PUT /v1/faults?owner=b", Body: `{"faults":[]}`, ContentType: jsonType},
		},
		"delete all faults": {
			func(ctx context.Context, c *client.Client) error { _, err := c.DeleteFaults(ctx); return err }, sent{Line: "DELETE /v1/faults"},
		},
		"read a fault": {
			func(ctx context.Context, c *client.Client) error { _, err := c.Fault(ctx, "a.b"); return err }, sent{Line: "GET /v1/faults/a.b"},
		},
		"set a fault": {
			func(ctx context.Context, c *client.Client) error {
				_, err := c.SetFault(ctx, api.Fault{Name: "a b/c", Partition: true})
				return err
			}, sent{Line: "PUT /v1/faults/a%20b%2Fc", Body: `{"name":"a b/c","partition":true}`, ContentType: jsonType},
		},
		"delete a fault": {
			func(ctx context.Context, c *client.Client) error { _, err := c.DeleteFault(ctx, "a"); return err }, sent{Line: "DELETE /v1/faults/a"},
		},
		"status": {
			func(ctx context.Context, c *client.Client) error { _, err := c.Status(ctx); return err }, sent{Line: "GET /v1/status"},
		},
		"measure": {
			func(ctx context.Context, c *client.Client) error {
				_, err := c.Measure(ctx, api.Measure{Targets: []string{"10.0.0.5"}, Count: 3})
				return err
			}, sent{Line: "POST /v1/measure", Body: `{"targets":["10.0.0.5"],"count":3}`, ContentType: jsonType},
		},
		"health":  {func(ctx context.Context, c *client.Client) error { return c.Health(ctx) }, sent{Line: "GET /healthz"}},
		"ready":   {func(ctx context.Context, c *client.Client) error { _, err := c.Ready(ctx); return err }, sent{Line: "GET /readyz"}},
		"openapi": {func(ctx context.Context, c *client.Client) error { _, err := c.OpenAPI(ctx); return err }, sent{Line: "GET /openapi.json"}},
		"metrics": {func(ctx context.Context, c *client.Client) error { _, err := c.Metrics(ctx); return err }, sent{Line: "GET /metrics"}},
	} {
		t.Run(name, func(t *testing.T) {
			agent, last := serve(t, client.Options{Token: "secret", PodUID: "a-b"}, func(w http.ResponseWriter, _ *http.Request) { write(t, w, "{}") })
			if err := c.call(t.Context(), agent); err != nil {
				t.Fatal(err)
			}
			c.want.Token, c.want.Pod = "secret", "a-b"
			if diff := cmp.Diff(c.want, *last); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	agent, _ := serve(t, client.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"0123456789abcdef"`)
		write(t, w, map[string]string{
			"/latency/20ms":       `{"fault":{"name":"latency","delay":"20ms"},"rtt":"+20ms","added by a later agent":1}`,
			"/v1/faults":          `{"faults":[{"name":"a","ports":{"remote":["1-2"]}}]}`,
			"/v1/faults/a":        `{"name":"a","delay":"1ms"}`,
			"DELETE /v1/faults/a": `{"applied":true,"changes":[{"name":"a","action":"remove","meaning":"none"}]}`,
			"/v1/status":          `{"engine":"netem","faults":[{"name":"a","delay":"1ms","held":true,"counters":{"packets":3}}]}`,
			"/v1/measure":         `{"results":[{"target":"10.0.0.5","median":1.5}]}`,
			"/readyz":             "ok: engine netem: it works\n",
		}[strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(r.Method+" "+r.URL.Path, "GET "), "PUT "), "POST ")])
	})
	ctx := t.Context()
	const etag = `"0123456789abcdef"`
	latency, err := agent.SetLatency(ctx, client.Delay{Delay: "20ms"})
	if err != nil || latency.Body.Fault == nil || latency.Body.Fault.Delay != "20ms" || latency.Body.RTT != "+20ms" || latency.ETag != etag {
		t.Errorf("latency %+v, %v", latency, err)
	}
	set, err := agent.Faults(ctx)
	if err != nil || len(set.Body.Faults) != 1 || set.Body.Faults[0].Ports.Remote[0] != (api.PortRange{First: 1, Last: 2}) || set.ETag != etag {
		t.Errorf("faults %+v, %v", set, err)
	}
	one, err := agent.Fault(ctx, "a")
	if err != nil || one.Body.Name != "a" || one.Body.Delay != "1ms" || one.ETag != etag {
		t.Errorf("fault %+v, %v", one, err)
	}
	changes, err := agent.DeleteFault(ctx, "a")
	if err != nil || !changes.Body.Applied || len(changes.Body.Changes) != 1 || changes.Body.Changes[0].Action != api.ActionRemove || changes.ETag != etag {
		t.Errorf("changes %+v, %v", changes, err)
	}
	status, err := agent.Status(ctx)
	if err != nil || status.Engine != api.EngineNetem || len(status.Faults) != 1 || !status.Faults[0].Held || status.Faults[0].Counters.Packets != 3 {
		t.Errorf("status %+v, %v", status, err)
	}
	measured, err := agent.Measure(ctx, api.Measure{Targets: []string{"10.0.0.5"}})
	if err != nil || len(measured.Results) != 1 || measured.Results[0].Median == nil || *measured.Results[0].Median != 1.5 {
		t.Errorf("measured %+v, %v", measured, err)
	}
	if ready, err := agent.Ready(ctx); err != nil || ready != "ok: engine netem: it works\n" {
		t.Errorf("ready %q, %v", ready, err)
	}
}
