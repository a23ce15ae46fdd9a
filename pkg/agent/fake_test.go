package agent

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/fault"
)

// fakeEngine is a kernel that holds what it is told, and fails when asked to.
type fakeEngine struct {
	mu       sync.Mutex
	held     []fault.Fault
	applied  int
	applyErr error
	readErr  error
	adoptErr error
	lacks    map[fault.Feature]string
	counters api.Counters
}

func (e *fakeEngine) Close() error                    { return nil }
func (e *fakeEngine) Run(ctx context.Context) error   { <-ctx.Done(); return nil }
func (e *fakeEngine) Lacks() map[fault.Feature]string { return e.lacks }

func (e *fakeEngine) Apply(faults []fault.Fault) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.applied++
	if e.applyErr != nil {
		return e.applyErr
	}
	e.held = slices.Clone(faults)
	return nil
}

func (e *fakeEngine) Adopt() ([]fault.Fault, error) { return e.holds(), e.adoptErr }

func (e *fakeEngine) State(faults []fault.Fault) (fault.State, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.readErr != nil {
		return fault.State{}, e.readErr
	}
	state := fault.State{Found: map[string][]fault.Instance{}}
	for _, f := range faults {
		if slices.ContainsFunc(e.held, f.SameEffect) {
			state.Found[f.Name] = []fault.Instance{{Direction: fault.Egress, Device: "eth0", Counters: e.counters}}
		} else {
			state.Drift = append(state.Drift, "no "+f.Name+" there")
		}
	}
	return state, nil
}

// holds is what the kernel has, safe beside a running control.
func (e *fakeEngine) holds() []fault.Fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.held)
}

func (e *fakeEngine) set(change func(e *fakeEngine)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(e)
}

// testServer is the API over HTTP, with a fake engine and a state directory of
// its own.
type testServer struct {
	*server
	t    *testing.T
	url  string
	http http.Handler
}

func newTestServer(t *testing.T, e engine, name string) testServer {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := &server{
		control: newControl(e, store{dir: t.TempDir()}, log),
		choice: choice{
			engine: e, name: name, reason: "because",
			capabilities: map[string]api.Capability{name: {Available: true}},
		},
		devices:     []api.Device{{Name: "eth0", Index: 7}},
		exempt:      fault.Exemption{ControlPort: api.Port},
		queueMemory: 256 << 20,
		version:     "v1",
		guard:       newGuard("", false),
		measurer:    newMeasurer(),
		log:         log,
	}
	s.measurer.run = func(_ context.Context, p measure.Plan) []api.Measurement {
		return []api.Measurement{{Target: p.Targets[0].String(), Sent: p.Count, Samples: []float64{}}}
	}
	s.metrics = newMetrics(s.version, name, s.control.read, log)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s.metrics)
	handler := s.handler(registry)
	h := httptest.NewServer(handler)
	t.Cleanup(h.Close)
	return testServer{server: s, t: t, url: h.URL, http: handler}
}

// do asks without following redirects, as a curl would. Headers are name,
// value, name, value.
func (s testServer) do(method, path, body string, headers ...string) *http.Response {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func (s testServer) get(path string) *http.Response {
	s.t.Helper()
	return s.do(http.MethodGet, path, "")
}

func text(t *testing.T, response *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// late is a latency fault.
func late(delay time.Duration) fault.Fault {
	return fault.Fault{Name: fault.Latency, Match: fault.Match{Direction: fault.Egress}, Impairment: fault.Impairment{Delay: delay}}
}
