package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/fault"
)

func decodeInto(t *testing.T, response *http.Response, into any) {
	t.Helper()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

func TestLatencyRoutes(t *testing.T) {
	h, _ := newTestServer(t, &fakeEngine{}, EngineNetem)
	var got api.Latency
	set := do(t, http.MethodGet, h.URL+"/latency/20")
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
	decodeInto(t, do(t, http.MethodGet, h.URL+"/latency"), &read)
	if diff := cmp.Diff(got, read); diff != "" {
		t.Errorf("a read differs from the answer to the set:\n%s", diff)
	}
	body, err := io.ReadAll(do(t, http.MethodDelete, h.URL+"/latency").Body)
	if err != nil || !strings.Contains(string(body), `"fault":null`) || !strings.Contains(string(body), `"expiresAt":null`) {
		t.Errorf("clear: %v %s", err, body)
	}
}

func TestErrorsAreProblemDocuments(t *testing.T) {
	for name, c := range map[string]struct {
		engine       *fakeEngine
		method, path string
		want         int
		detail       string
	}{
		"a bad delay":             {&fakeEngine{}, http.MethodGet, "/latency/abc", 400, `"abc"`},
		"tc's arguments":          {&fakeEngine{}, http.MethodGet, "/latency/20ms%20loss%2050%25", 400, `"20ms loss 50%"`},
		"an escaped slash":        {&fakeEngine{}, http.MethodGet, "/latency/20ms%2F", 400, `"20ms/"`},
		"an empty delay":          {&fakeEngine{}, http.MethodGet, "/latency/", 400, `""`},
		"a query":                 {&fakeEngine{}, http.MethodGet, "/latency/20ms?jitter=5ms", 400, "jitter=5ms"},
		"a query on a read":       {&fakeEngine{}, http.MethodGet, "/latency?delay=20ms", 400, "delay=20ms"},
		"a query on a clear":      {&fakeEngine{}, http.MethodDelete, "/latency?now", 400, "now"},
		"no route":                {&fakeEngine{}, http.MethodGet, "/v2/status", 404, "/v2/status"},
		"a longer path":           {&fakeEngine{}, http.MethodGet, "/latency/20ms/5ms", 404, "/latency/20ms/5ms"},
		"another method":          {&fakeEngine{}, http.MethodPost, "/latency", 405, "GET"},
		"a foreign root":          {&fakeEngine{setErr: fmt.Errorf("qdisc htb 1:0: %w", fault.ErrForeign)}, http.MethodGet, "/latency/20ms", 409, "htb"},
		"a kernel that can't":     {&fakeEngine{setErr: fault.ErrUnsupported}, http.MethodGet, "/latency/20ms", 422, "not supported"},
		"a kernel that fails":     {&fakeEngine{setErr: errors.New("boom")}, http.MethodGet, "/latency/20ms", 500, "boom"},
		"a clear that fails":      {&fakeEngine{clearErr: errors.New("boom")}, http.MethodDelete, "/latency", 500, "boom"},
		"a read that fails":       {&fakeEngine{readErr: errors.New("boom")}, http.MethodGet, "/latency", 500, "boom"},
		"a status that fails":     {&fakeEngine{readErr: errors.New("boom")}, http.MethodGet, "/v1/status", 500, "boom"},
		"a zero that can't clear": {&fakeEngine{clearErr: errors.New("boom")}, http.MethodGet, "/latency/0", 500, "boom"},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := newTestServer(t, c.engine, EngineNetem)
			response := do(t, c.method, h.URL+c.path)
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
			if c.engine.held != nil {
				t.Errorf("the kernel was changed: %+v", c.engine.held)
			}
		})
	}
}

// panicEngine stands for a bug.
type panicEngine struct{ fakeEngine }

func (*panicEngine) State() (fault.State, error) { panic("bug") }

func TestPanicIsAProblemToo(t *testing.T) {
	h, _ := newTestServer(t, &panicEngine{}, EngineNetem)
	response := do(t, http.MethodGet, h.URL+"/latency")
	if response.StatusCode != http.StatusInternalServerError || response.Header.Get("Content-Type") != api.ContentTypeProblem {
		t.Errorf("status %d, content type %q", response.StatusCode, response.Header.Get("Content-Type"))
	}
}

func TestNoEngineSaysWhy(t *testing.T) {
	h, s := newTestServer(t, noEngine{reason: "no netem"}, engineNone)
	s.choice.reason = "no netem"
	for path, want := range map[string]int{"/latency/20ms": 501, "/latency": 200, "/v1/status": 200, "/healthz": 200, "/readyz": 503} {
		response := do(t, http.MethodGet, h.URL+path)
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != want {
			t.Errorf("%s: status %d (%v), want %d: %s", path, response.StatusCode, err, want, body)
		}
		if path != "/healthz" && path != "/latency" && !strings.Contains(string(body), "no netem") {
			t.Errorf("%s does not say why: %s", path, body)
		}
	}
}

func TestStatusShowsWhatTheKernelHolds(t *testing.T) {
	h, _ := newTestServer(t, &fakeEngine{held: &fault.Fault{Name: fault.Latency, Delay: 1500 * time.Microsecond}}, EngineNFQueue)
	var got api.Status
	decodeInto(t, do(t, http.MethodGet, h.URL+"/v1/status"), &got)
	want := api.Status{
		Engine:       "nfqueue",
		Reason:       "because",
		Capabilities: map[string]api.Capability{"nfqueue": {Available: true}},
		Devices:      []api.Device{{Name: "eth0", Index: 7}},
		Faults: []api.FaultStatus{{
			Fault:    api.Fault{Name: "latency", Direction: "egress", Delay: "1.5ms"},
			Counters: api.Counters{Packets: 3, Bytes: 300, Dropped: 1},
		}},
		Exempt:  got.Exempt,
		Version: "v1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if exempt := strings.Join(got.Exempt, "\n"); !strings.Contains(exempt, "2332") || !strings.Contains(exempt, "ARP") {
		t.Errorf("exempt:\n%s", exempt)
	}
}

func TestMetrics(t *testing.T) {
	h, _ := newTestServer(t, &fakeEngine{}, EngineNetem)
	scrape := func() string {
		body, err := io.ReadAll(do(t, http.MethodGet, h.URL+"/metrics").Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	if before := scrape(); strings.Contains(before, "tidelay_fault_") || !strings.Contains(before, `tidelay_agent_info{engine="netem",version="v1"} 1`) {
		t.Errorf("metrics without a fault:\n%s", before)
	}
	do(t, http.MethodGet, h.URL+"/latency/20ms")
	do(t, http.MethodGet, h.URL+"/latency/abc")
	after := scrape()
	for _, line := range []string{
		`tidelay_agent_changes_total{op="set",result="ok"} 1`,
		`tidelay_agent_changes_total{op="set",result="rejected"} 1`,
		`tidelay_fault_delay_seconds{direction="egress",fault="latency"} 0.02`,
		`tidelay_fault_dropped_packets_total{direction="egress",fault="latency"} 1`,
	} {
		if !strings.Contains(after, line+"\n") {
			t.Errorf("metrics lack %s:\n%s", line, after)
		}
	}
}
