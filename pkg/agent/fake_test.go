package agent

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/fault"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
)

// fakeEngine is a kernel that holds what it is told, and fails when asked to.
type fakeEngine struct {
	mu       sync.Mutex
	held     *fault.Fault
	setErr   error
	clearErr error
	readErr  error
	cleared  int
}

func (e *fakeEngine) Close() error { return nil }

func (e *fakeEngine) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (e *fakeEngine) Set(f fault.Fault) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setErr != nil {
		return e.setErr
	}
	e.held = &f
	return nil
}

func (e *fakeEngine) Clear() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cleared++
	if e.clearErr != nil {
		return e.clearErr
	}
	e.held = nil
	return nil
}

func (e *fakeEngine) State() (fault.State, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.readErr != nil {
		return fault.State{}, e.readErr
	}
	return fault.State{Fault: e.held, Counters: fault.Counters{Packets: 3, Bytes: 300, Dropped: 1}}, nil
}

// newTestServer serves the routes over HTTP with a fake engine and a state
// directory of its own.
func newTestServer(t *testing.T, e engine, name string) (*httptest.Server, *server) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := &server{
		control: &control{engine: e, store: store{dir: t.TempDir()}, log: log},
		choice: choice{
			engine: e, name: name, reason: "because",
			capabilities: map[string]api.Capability{name: {Available: true}},
		},
		device:  rtnl.Device{Name: "eth0", Index: 7},
		exempt:  fault.Exemption{ControlPort: api.Port},
		version: "v1",
		log:     log,
	}
	s.metrics = newMetrics(s.version, name, s.control.state, log)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s.metrics)
	h := httptest.NewServer(s.handler(registry))
	t.Cleanup(h.Close)
	return h, s
}

// do asks without following redirects, as a curl would.
func do(t *testing.T, method, url string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}
