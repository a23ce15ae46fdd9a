package httpapi_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/agent/netem"
	"github.com/tidelay/tidelay/pkg/fault"
)

// tc is what the agent answers with: the commands of netem.
type tc struct{}

func (tc) Equivalent(device string, f fault.Fault) string { return netem.Equivalent(device, f) }

func (tc) Commands(faults []fault.Fault) []string {
	return netem.Commands([]string{"eth0"}, fault.Exemption{ControlPort: api.Port}, 256<<20, faults)
}

// testServer is the API over HTTP.
type testServer struct {
	*httpapi.Server
	t       *testing.T
	url     string
	handler http.Handler
}

// engine is an engine that runs, or api.EngineNone.
func engine(name, reason string) func() httpapi.Engine {
	capabilities := map[string]api.Capability{}
	if name != api.EngineNone {
		capabilities[name] = api.Capability{Available: true}
	}
	return func() httpapi.Engine { return httpapi.Engine{Name: name, Reason: reason, Capabilities: capabilities} }
}

// newTestServer serves an engine, as netem, with a state directory of its own.
// Changes of the configuration come before it starts.
func newTestServer(t *testing.T, e control.Engine, changes ...func(*httpapi.Config)) testServer {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	config := httpapi.Config{
		Control: control.New(e, t.TempDir(), 0, log),
		TC:      tc{},
		Measure: func(_ context.Context, p measure.Plan) []api.Measurement {
			return []api.Measurement{{Target: p.Targets[0].String(), Sent: p.Count, Samples: []float64{}}}
		},
		DeviceTo: func(netip.Addr) (string, error) { return "eth0", nil },
		Engine:   engine(api.EngineNetem, "because"),
		Warnings: func() []string { return nil },
		Devices:  func() ([]api.Device, error) { return []api.Device{{Name: "eth0", Index: 7}}, nil },
		Exempt:   func() fault.Exemption { return fault.Exemption{ControlPort: api.Port} },
		Version:  "v1",
		Registry: prometheus.NewPedanticRegistry(),
		Log:      log,
	}
	for _, change := range changes {
		change(&config)
	}
	s := httpapi.New(config)
	handler := s.Handler()
	h := httptest.NewServer(handler)
	t.Cleanup(h.Close)
	return testServer{Server: s, t: t, url: h.URL, handler: handler}
}

// do asks without following redirects, as a curl would. Headers are name,
// value, name, value.
func (s testServer) do(method, path, body string, headers ...string) *http.Response {
	s.t.Helper()
	return s.send(method, path, strings.NewReader(body), headers...)
}

func (s testServer) send(method, path string, body io.Reader, headers ...string) *http.Response {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
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

func decodeInto(t *testing.T, response *http.Response, into any) {
	t.Helper()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}
