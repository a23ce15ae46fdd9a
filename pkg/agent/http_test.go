package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

func decodeInto(t *testing.T, response *http.Response, into any) {
	t.Helper()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

func TestLatencyRoutes(t *testing.T) {
	s := newTestServer(t, &fakeEngine{}, api.EngineNetem)
	var got api.Latency
	set := s.get("/latency/20")
	decodeInto(t, set, &got)
	want := api.Latency{
		Fault:   &api.Fault{Name: "latency", Direction: "egress", Delay: "20ms"},
		Engine:  "netem",
		Devices: []string{"eth0"},
		RTT:     "+20ms",
		TC:      "tc qdisc replace dev eth0 root netem delay 20ms",
		Meaning: got.Meaning,
	}
	if diff := cmp.Diff(want, got); set.StatusCode != http.StatusOK || diff != "" {
		t.Errorf("set: status %d (-want +got):\n%s", set.StatusCode, diff)
	}
	if !strings.Contains(got.Meaning, "one way") || !strings.Contains(got.Meaning, "20ms") {
		t.Errorf("meaning %q", got.Meaning)
	}
	var read api.Latency
	decodeInto(t, s.get("/latency"), &read)
	if diff := cmp.Diff(got, read); diff != "" {
		t.Errorf("a read differs from the answer to the set:\n%s", diff)
	}
	body := text(t, s.do(http.MethodDelete, "/latency", ""))
	if !strings.Contains(body, `"fault":null`) || !strings.Contains(body, `"expiresAt":null`) {
		t.Errorf("clear: %s", body)
	}
}

func TestLatencyTakesTheRestInTheQuery(t *testing.T) {
	s := newTestServer(t, &fakeEngine{}, api.EngineNetem)
	var got api.Latency
	decodeInto(t, s.get("/latency/20ms?jitter=5ms&correlation=25&distribution=normal&direction=both&duration=1m"), &got)
	if got.Fault == nil || got.ExpiresAt == nil || got.Fault.ExpiresAt != *got.ExpiresAt {
		t.Fatalf("answer %+v", got)
	}
	if ends, err := time.Parse(time.RFC3339Nano, *got.ExpiresAt); err != nil || time.Until(ends) > time.Minute || time.Until(ends) < 50*time.Second {
		t.Errorf("expires at %s (%v), want in a minute", *got.ExpiresAt, err)
	}
	got.Fault.ExpiresAt = ""
	want := api.Fault{Name: "latency", Direction: "both", Delay: "20ms", Jitter: "5ms", Correlation: 25, Distribution: "normal"}
	if diff := cmp.Diff(want, *got.Fault); diff != "" || got.RTT != "+40ms±10ms" {
		t.Errorf("RTT %s, fault (-want +got):\n%s", got.RTT, diff)
	}
}

// Somebody deleted the qdisc: the fault is wanted, and a read does not claim
// that it is there.
func TestAReadClaimsNoMoreThanTheKernelHolds(t *testing.T) {
	e := &fakeEngine{}
	s := newTestServer(t, e, api.EngineNetem)
	s.get("/latency/20ms")
	e.set(func(e *fakeEngine) { e.held = nil })
	var got api.Latency
	decodeInto(t, s.get("/latency"), &got)
	if got.Fault != nil || !strings.Contains(got.Meaning, "does not hold it") {
		t.Errorf("answer %+v", got)
	}
	var status api.Status
	decodeInto(t, s.get("/v1/status"), &status)
	if len(status.Faults) != 1 || status.Faults[0].Held || !strings.Contains(strings.Join(status.Warnings, ""), "no latency there") {
		t.Errorf("status %+v", status)
	}
	if metrics := text(t, s.get("/metrics")); !strings.Contains(metrics, `tidelay_fault_held{fault="latency"} 0`) {
		t.Errorf("metrics:\n%s", metrics)
	}
}

func TestErrorsAreProblemDocuments(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		engine             *fakeEngine
		method, path, body string
		want               int
		detail             string
	}{
		"a bad delay":            {&fakeEngine{}, "GET", "/latency/abc", "", 400, `"abc"`},
		"tc's arguments":         {&fakeEngine{}, "GET", "/latency/20ms%20loss%2050%25", "", 400, `"20ms loss 50%"`},
		"an escaped slash":       {&fakeEngine{}, "GET", "/latency/20ms%2F", "", 400, `"20ms/"`},
		"an empty delay":         {&fakeEngine{}, "GET", "/latency/", "", 400, `""`},
		"a jitter of nothing":    {&fakeEngine{}, "GET", "/latency/0?jitter=5ms", "", 400, "query jitter"},
		"an unknown query":       {&fakeEngine{}, "GET", "/latency/20ms?jiter=5ms", "", 400, "query jiter"},
		"a query twice":          {&fakeEngine{}, "GET", "/latency/20ms?jitter=5ms&jitter=6ms", "", 400, "want it once"},
		"a query of nothing":     {&fakeEngine{}, "GET", "/latency/20ms?jitter=", "", 400, "leave it out"},
		"a bad query":            {&fakeEngine{}, "GET", "/latency/20ms?correlation=NaN&jitter=1ms", "", 400, "percentage"},
		"a broken query":         {&fakeEngine{}, "GET", "/latency/20ms?a=%zz", "", 400, "percent-encoded"},
		"a dry run maybe":        {&fakeEngine{}, "GET", "/latency/20ms?dryRun=maybe", "", 400, "true or false"},
		"verify nobody":          {&fakeEngine{}, "GET", "/latency/20ms?verify=true", "", 400, "peer"},
		"verify a dry run":       {&fakeEngine{}, "GET", "/latency/20ms?verify=true&peer=10.0.0.1&dryRun=true", "", 400, "dry run"},
		"verify a name":          {&fakeEngine{}, "GET", "/latency/20ms?verify=true&peer=pd-0", "", 400, "peer"},
		"verify ten minutes":     {&fakeEngine{}, "GET", "/latency/600s?verify=true&peer=10.0.0.1", "", 400, "10m0s"},
		"a query on a read":      {&fakeEngine{}, "GET", "/latency?delay=20ms", "", 400, "query delay"},
		"a query on a clear":     {&fakeEngine{}, "DELETE", "/latency?now", "", 400, "query now"},
		"no body":                {&fakeEngine{}, "PUT", "/v1/faults", "", 400, "want a JSON object"},
		"no JSON":                {&fakeEngine{}, "PUT", "/v1/faults", "delay: 20ms", 400, "want JSON"},
		"no faults":              {&fakeEngine{}, "PUT", "/v1/faults", "{}", 400, "want a list"},
		"two values":             {&fakeEngine{}, "PUT", "/v1/faults", `{"faults":[]}{}`, 400, "nothing behind it"},
		"an unknown field":       {&fakeEngine{}, "PUT", "/v1/faults/a", `{"dealy":"20ms"}`, 400, "dealy"},
		"a wrong type":           {&fakeEngine{}, "PUT", "/v1/faults/a", `{"delay":20}`, 400, "want a string"},
		"a bad port":             {&fakeEngine{}, "PUT", "/v1/faults/a", `{"ports":{"remote":[0]}}`, 400, "1 to 65535"},
		"another name":           {&fakeEngine{}, "PUT", "/v1/faults/a", `{"name":"b","delay":"1ms"}`, 400, "name of the path"},
		"a bad name":             {&fakeEngine{}, "PUT", "/v1/faults/A%20B", `{"delay":"1ms"}`, 400, "a-z"},
		"nothing to do":          {&fakeEngine{}, "PUT", "/v1/faults/a", `{}`, 400, "at least one"},
		"a body without end":     {&fakeEngine{}, "PUT", "/v1/faults", `{"faults":[` + strings.Repeat(" ", 300<<10), 413, "too large"},
		"the same packets":       {&fakeEngine{}, "PUT", "/v1/faults", `{"faults":[{"name":"a","delay":"1ms"},{"name":"b","delay":"2ms"}]}`, 409, `"a" and "b"`},
		"no such fault":          {&fakeEngine{}, "GET", "/v1/faults/a", "", 404, `"a"`},
		"no such fault to clear": {&fakeEngine{}, "DELETE", "/v1/faults/a", "", 404, `"a"`},
		"measure nothing":        {&fakeEngine{}, "POST", "/v1/measure", `{"targets":[]}`, 400, "targets"},
		"no route":               {&fakeEngine{}, "GET", "/v2/status", "", 404, "/v2/status"},
		"a longer path":          {&fakeEngine{}, "GET", "/latency/20ms/5ms", "", 404, "/latency/20ms/5ms"},
		"another method":         {&fakeEngine{}, "POST", "/latency", "", 405, "GET"},
		"a foreign root":         {&fakeEngine{applyErr: fmt.Errorf("qdisc htb 1:0: %w", fault.ErrForeign)}, "GET", "/latency/20ms", "", 409, "htb"},
		"a kernel that can't":    {&fakeEngine{applyErr: fault.ErrUnsupported}, "GET", "/latency/20ms", "", 422, "not supported"},
		"a kernel that fails":    {&fakeEngine{applyErr: boom}, "GET", "/latency/20ms", "", 500, "boom"},
		"a clear that fails":     {&fakeEngine{applyErr: boom}, "DELETE", "/latency", "", 500, "boom"},
		"a read that fails":      {&fakeEngine{readErr: boom}, "GET", "/latency", "", 500, "boom"},
		"a status that fails":    {&fakeEngine{readErr: boom}, "GET", "/v1/status", "", 500, "boom"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestServer(t, c.engine, api.EngineNetem)
			response := s.do(c.method, c.path, c.body)
			var got api.Problem
			decodeInto(t, response, &got)
			if response.StatusCode != c.want || got.Status != c.want || got.Title != http.StatusText(c.want) || got.Type != "about:blank" {
				t.Errorf("status %d, problem %+v, want %d", response.StatusCode, got, c.want)
			}
			if contentType := response.Header.Get("Content-Type"); contentType != api.ContentTypeProblem {
				t.Errorf("content type %q", contentType)
			}
			if !strings.Contains(got.Detail, c.detail) {
				t.Errorf("detail %q does not name %s", got.Detail, c.detail)
			}
			if c.want == http.StatusBadRequest && (len(got.Errors) == 0 || got.Errors[0].Field == "" || got.Errors[0].Accepted == "") {
				t.Errorf("errors %+v", got.Errors)
			}
			if held := c.engine.holds(); len(held) != 0 {
				t.Errorf("the kernel was changed: %+v", held)
			}
		})
	}
}

// panicEngine stands for a bug.
type panicEngine struct{ fakeEngine }

func (*panicEngine) State([]fault.Fault) (fault.State, error) { panic("bug") }

func TestPanicIsAProblemToo(t *testing.T) {
	s := newTestServer(t, &panicEngine{}, api.EngineNetem)
	response := s.get("/latency")
	if response.StatusCode != http.StatusInternalServerError || response.Header.Get("Content-Type") != api.ContentTypeProblem {
		t.Errorf("status %d, content type %q", response.StatusCode, response.Header.Get("Content-Type"))
	}
}

func TestNoEngineSaysWhy(t *testing.T) {
	s := newTestServer(t, noEngine{reason: "no netem"}, api.EngineNone)
	s.choice.reason = "no netem"
	for path, want := range map[string]int{"/latency/20ms": 501, "/latency": 501, "/v1/status": 200, "/healthz": 200, "/readyz": 503} {
		response := s.get(path)
		body := text(t, response)
		if response.StatusCode != want {
			t.Errorf("%s: status %d, want %d: %s", path, response.StatusCode, want, body)
		}
		if path != "/healthz" && path != "/v1/status" && !strings.Contains(body, "no netem") {
			t.Errorf("%s does not say why: %s", path, body)
		}
	}
}

func TestStatusShowsWhatTheKernelHolds(t *testing.T) {
	e := &fakeEngine{counters: api.Counters{Packets: 3, Bytes: 300, Dropped: 1}}
	s := newTestServer(t, e, api.EngineNFQueue)
	s.get("/latency/1.5ms")
	var got api.Status
	decodeInto(t, s.get("/v1/status"), &got)
	want := api.Status{
		Engine:       "nfqueue",
		Reason:       "because",
		Capabilities: map[string]api.Capability{"nfqueue": {Available: true}},
		Devices:      []api.Device{{Name: "eth0", Index: 7}},
		Faults: []api.FaultStatus{{
			Fault:    api.Fault{Name: "latency", Direction: "egress", Delay: "1.5ms"},
			Held:     true,
			Counters: api.Counters{Packets: 3, Bytes: 300, Dropped: 1},
		}},
		Exempt:   got.Exempt,
		Warnings: got.Warnings,
		Version:  "v1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if exempt := strings.Join(got.Exempt, "\n"); !strings.Contains(exempt, "2332") || !strings.Contains(exempt, "ARP") {
		t.Errorf("exempt:\n%s", exempt)
	}
	if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "1 packets were dropped though no loss was asked for") {
		t.Errorf("warnings %q", got.Warnings)
	}
}

func TestMetrics(t *testing.T) {
	s := newTestServer(t, &fakeEngine{counters: api.Counters{Dropped: 1}}, api.EngineNetem)
	if before := text(t, s.get("/metrics")); strings.Contains(before, "tidelay_fault_") || !strings.Contains(before, `tidelay_agent_info{engine="netem",version="v1"} 1`) {
		t.Errorf("metrics without a fault:\n%s", before)
	}
	s.get("/latency/20ms?duration=1h")
	s.get("/latency/abc")
	s.do("BREW", "/nowhere", "")
	after := text(t, s.get("/metrics"))
	for _, line := range []string{
		`tidelay_agent_requests_total{method="GET",reason="ok",route="/latency/:delay"} 1`,
		`tidelay_agent_requests_total{method="GET",reason="invalid",route="/latency/:delay"} 1`,
		`tidelay_agent_requests_total{method="other",reason="no_route",route="none"} 1`,
		`tidelay_agent_kernel_readable 1`,
		`tidelay_fault_held{fault="latency"} 1`,
		`tidelay_fault_delay_seconds{fault="latency"} 0.02`,
		`tidelay_fault_dropped_packets_total{device="eth0",direction="egress",fault="latency"} 1`,
	} {
		if !strings.Contains(after, line+"\n") {
			t.Errorf("metrics lack %s:\n%s", line, after)
		}
	}
	if !strings.Contains(after, "tidelay_fault_expiry_timestamp_seconds") {
		t.Errorf("metrics lack the expiry:\n%s", after)
	}
}
