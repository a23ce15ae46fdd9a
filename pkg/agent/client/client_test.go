package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

// sent is a request as it came over the wire.
type sent struct{ Line, Body, IfMatch, Authorization, ContentType string }

// serve answers every request with one answer, and returns a client of it and
// what the last request was.
func serve(t *testing.T, o client.Options, answer http.HandlerFunc) (*client.Client, *sent) {
	t.Helper()
	last := &sent{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*last = sent{r.Method + " " + r.RequestURI, string(body), r.Header.Get("If-Match"), r.Header.Get("Authorization"), r.Header.Get("Content-Type")}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c, last
}

func write(t *testing.T, w http.ResponseWriter, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Error(err)
	}
}

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
			agent, last := serve(t, client.Options{Token: "secret"}, func(w http.ResponseWriter, _ *http.Request) { write(t, w, "{}") })
			if err := c.call(t.Context(), agent); err != nil {
				t.Fatal(err)
			}
			c.want.Authorization = "Bearer secret"
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

func TestErrors(t *testing.T) {
	const problem = api.ContentTypeProblem
	for name, c := range map[string]struct {
		status             int
		mediaType, content string
		retryAfter         string
		want               client.Error
	}{
		"a problem document": {
			400, problem + "; charset=utf-8", `{"type":"about:blank","title":"Bad Request","status":400,"detail":"no","errors":[{"field":"delay","value":"x","accepted":"y"}]}`, "",
			client.Error{Problem: api.Problem{
				Type: "about:blank", Title: "Bad Request", Status: 400, Detail: "no", Errors: []api.FieldError{{Field: "delay", Value: "x", Accepted: "y"}},
			}},
		},
		"too many requests": {
			429, problem, `{"type":"about:blank","status":429,"detail":"later"}`, "7",
			client.Error{Problem: api.Problem{Type: "about:blank", Status: 429, Detail: "later"}, RetryAfter: 7 * time.Second},
		},
		"the status of the answer counts": {
			502, problem, `{"type":"about:blank","status":200}`, "", client.Error{Problem: api.Problem{Type: "about:blank", Status: 502}},
		},
		"a broken problem document": {
			500, problem, `{`, "", client.Error{Problem: api.Problem{Status: 500, Detail: "problem document that is no JSON: unexpected end of JSON input"}},
		},
		"text":              {503, "text/plain", "not ready: no netem\n", "", client.Error{Problem: api.Problem{Status: 503, Detail: "not ready: no netem"}}},
		"much text":         {502, "text/html", strings.Repeat("é", 1000), "soon", client.Error{Problem: api.Problem{Status: 502, Detail: strings.Repeat("é", 256)}}},
		"a redirect":        {307, "", "", "", client.Error{Problem: api.Problem{Status: 307}}},
		"another success":   {202, "", "", "-1", client.Error{Problem: api.Problem{Status: 202}}},
		"JSON of something": {404, "application/json", `{"kind":"Status"}`, "", client.Error{Problem: api.Problem{Status: 404, Detail: `{"kind":"Status"}`}}},
	} {
		t.Run(name, func(t *testing.T) {
			agent, _ := serve(t, client.Options{}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.mediaType)
				w.Header().Set("Location", "/elsewhere")
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				w.WriteHeader(c.status)
				write(t, w, c.content)
			})
			_, err := agent.Status(t.Context())
			var got *client.Error
			if !errors.As(err, &got) {
				t.Fatalf("error %v, want an *Error", err)
			}
			if diff := cmp.Diff(c.want, *got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if text := err.Error(); !strings.HasPrefix(text, "GET /v1/status: ") || !strings.Contains(text, got.Detail) || !strings.Contains(text, http.StatusText(c.status)) {
				t.Errorf("error %q", text)
			}
		})
	}
}

func TestAnswersAreBounded(t *testing.T) {
	for length, ok := range map[int]bool{client.MaxAnswer: true, client.MaxAnswer + 1: false} {
		agent, _ := serve(t, client.Options{}, func(w http.ResponseWriter, _ *http.Request) { write(t, w, strings.Repeat(" ", length)) })
		if got, err := agent.Metrics(t.Context()); (err == nil) != ok || ok && len(got) != length {
			t.Errorf("an answer of %d bytes: %d bytes, error %v", length, len(got), err)
		}
	}
}

func TestAnAnswerThatIsNoJSONIsAnError(t *testing.T) {
	agent, _ := serve(t, client.Options{}, func(w http.ResponseWriter, _ *http.Request) { write(t, w, "<html>") })
	if _, err := agent.Latency(t.Context()); err == nil || !strings.Contains(err.Error(), "GET /latency: decode answer") {
		t.Errorf("error %v", err)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	asked := make(chan struct{})
	agent, _ := serve(t, client.Options{}, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := agent.Faults(ctx); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "http://") {
		t.Errorf("error %v, want that of the context without the URL", err)
	}
}

func TestDialContextMakesTheConnections(t *testing.T) {
	var dialed string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { write(t, w, "ok\n") }))
	t.Cleanup(server.Close)
	agent, err := client.New(client.URL("fd00::5"), client.Options{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dialed = address
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(agent.CloseIdleConnections)
	if err := agent.Health(t.Context()); err != nil || dialed != netip.MustParseAddrPort("[fd00::5]:2332").String() {
		t.Errorf("dialed %q, %v", dialed, err)
	}
}

// roundTripper is a transport made of a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

// The path of the base URL leads to the agent, as that of the API server's pod
// proxy does.
func TestTransportSendsTheRequests(t *testing.T) {
	var asked string
	agent, err := client.New("https://api/api/v1/namespaces/n/pods/p:2332/proxy/", client.Options{
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			asked = r.URL.String()
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{}`))}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = agent.SetLatency(t.Context(), client.Delay{Delay: "20ms"})
	if want := "https://api/api/v1/namespaces/n/pods/p:2332/proxy/latency/20ms"; err != nil || asked != want {
		t.Errorf("asked %s, want %s; %v", asked, want, err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, base := range []string{"", "10.0.0.5:2332", "fd00::5", "ftp://10.0.0.5", "http://", "http://10.0.0.5?a=b", "http://10.0.0.5#a", "http://user@10.0.0.5", "http://10.0.0.5:x"} {
		if c, err := client.New(base, client.Options{}); err == nil {
			t.Errorf("New(%q) = %v, want an error", base, c)
		}
	}
	dialer := &net.Dialer{}
	if c, err := client.New("http://10.0.0.5", client.Options{Transport: http.DefaultTransport, DialContext: dialer.DialContext}); err == nil {
		t.Errorf("New with both hooks = %v, want an error", c)
	}
}

// Such a name would make the path that of another route.
func TestNamesThatAreNoneAreNotSent(t *testing.T) {
	agent, last := serve(t, client.Options{}, func(w http.ResponseWriter, _ *http.Request) { write(t, w, "{}") })
	for _, name := range []string{"", ".", ".."} {
		_, read := agent.Fault(t.Context(), name)
		_, set := agent.SetFault(t.Context(), api.Fault{Name: name})
		_, deleted := agent.DeleteFault(t.Context(), name)
		if read == nil || set == nil || deleted == nil || last.Line != "" {
			t.Errorf("name %q: %v, %v, %v, sent %s", name, read, set, deleted, last.Line)
		}
	}
}
