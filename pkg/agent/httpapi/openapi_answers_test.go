package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/fault"
)

// ask is a request.
type ask struct {
	method, path, body string
	headers            []string
}

// with adds to the query.
func (a ask) with(query string) ask {
	separator := "?"
	if strings.Contains(a.path, "?") {
		separator = "&"
	}
	a.path += separator + query
	return a
}

// asks has a request for each operation, which succeeds where slow-store and
// latency are set.
func asks() map[string]ask {
	return map[string]ask{
		"GET /latency":             {method: "GET", path: "/latency"},
		"DELETE /latency":          {method: "DELETE", path: "/latency"},
		"GET /latency/":            {method: "GET", path: "/latency/"},
		"GET /latency/{delay}":     {method: "GET", path: "/latency/20ms?jitter=5ms&correlation=25&distribution=normal&duration=10m&direction=both"},
		"GET /v1/faults":           {method: "GET", path: "/v1/faults"},
		"PUT /v1/faults":           {method: "PUT", path: "/v1/faults", body: `{"faults":[{"name":"a","delay":"1ms"},{"name":"b","peers":["fd00::/64"],"ports":{"remote":[1,"2-3"]},"loss":{"percent":5}}]}`},
		"GET /v1/faults/{name}":    {method: "GET", path: "/v1/faults/slow-store"},
		"PUT /v1/faults/{name}":    {method: "PUT", path: "/v1/faults/slow-store", body: `{"peers":["10.0.0.5"],"rate":{"perSecond":"10mbit"}}`},
		"DELETE /v1/faults/{name}": {method: "DELETE", path: "/v1/faults/slow-store"},
		"GET /v1/status":           {method: "GET", path: "/v1/status"},
		"POST /v1/measure":         {method: "POST", path: "/v1/measure", body: `{"targets":["127.0.0.1:1","127.0.0.1:1"],"count":2}`},
		"GET /openapi.json":        {method: "GET", path: "/openapi.json"},
		"GET /metrics":             {method: "GET", path: "/metrics"},
		"GET /healthz":             {method: "GET", path: "/healthz"},
		"GET /readyz":              {method: "GET", path: "/readyz"},
	}
}

// circumstance is what makes requests end with one status, where the document
// says that they can.
type circumstance struct {
	status int
	// config, kernel and server change what answers; nil for not.
	config func(*httpapi.Config)
	kernel func(*enginetest.Kernel)
	server func(testServer)
	// ask changes the request; nil for not.
	ask func(ask) ask
	// slow keeps the end of the request's body back.
	slow bool
	// except has the operations that end so for another cause only, and unasked
	// those that the circumstance can't be tried on.
	except, unasked []string
}

// bug is a control that panics.
type bug struct{ httpapi.Control }

// circumstances has one for each status.
func circumstances(t *testing.T) map[string]circumstance {
	query := func(query string) func(ask) ask { return func(a ask) ask { return a.with(query) } }
	failing := func(err error) func(*enginetest.Kernel) {
		return func(k *enginetest.Kernel) { k.ApplyErr, k.StateErr = err, err }
	}
	return map[string]circumstance{
		"a bad request": {status: 400, ask: query("nobody=knows"), except: []string{"GET /openapi.json", "GET /metrics"}},
		"a bad header": {status: 400, ask: func(a ask) ask {
			a.headers = []string{api.HeaderPod, "basic-tikv-0, basic-tikv-1"}
			return a
		}},
		"meant for another pod": {
			status: 421, config: func(c *httpapi.Config) { c.PodUID = "here" }, ask: func(a ask) ask {
				a.headers = []string{api.HeaderPod, "there"}
				return a
			},
		},
		"no token":  {status: 401, config: func(c *httpapi.Config) { c.TokenFile = filepath.Join(t.TempDir(), "token") }},
		"read-only": {status: 403, config: func(c *httpapi.Config) { c.ReadOnly = true }},
		"no such fault": {status: 404, ask: func(a ask) ask {
			a.path = strings.ReplaceAll(a.path, "slow-store", "nobody")
			return a
		}, except: []string{"PUT /v1/faults/{name}"}},
		"somebody else's qdisc": {status: 409, kernel: failing(fmt.Errorf("qdisc htb 1:0: %w", fault.ErrForeign))},
		"another's change": {status: 412, ask: func(a ask) ask {
			a.headers = []string{"If-Match", `"0123456789abcdef"`}
			return a
		}},
		"a slow body": {status: 408, server: func(s testServer) { s.SetBodyTimeout(time.Millisecond) }, slow: true},
		"a large body": {status: 413, ask: func(a ask) ask {
			a.body += strings.Repeat(" ", httpapi.MaxBody)
			return a
		}},
		"a kernel that can't": {status: 422, kernel: func(k *enginetest.Kernel) { k.ApplyErr = fault.ErrUnsupported }},
		"too many":            {status: 429, server: func(s testServer) { s.SetRequestBurst(0) }},
		// A panic while metrics are collected is in a goroutine that nothing
		// recovers.
		"a bug": {status: 500, config: func(c *httpapi.Config) { c.Control, c.Measure = bug{}, nil }, unasked: []string{"GET /metrics"}},
		"no engine": {
			status: 501, kernel: failing(fmt.Errorf("%w: no netem", control.ErrNoEngine)),
			config: func(c *httpapi.Config) { c.Engine = engine(api.EngineNone, "no netem") },
		},
		"neither an engine nor the stored faults": {status: 503, config: func(c *httpapi.Config) {
			c.Engine, c.Control = engine(api.EngineNone, "no netem"), unknowing(t)
		}, except: []string{"DELETE /v1/faults"}},
	}
}

// unknowing returns a control that can't read what an earlier agent stored.
func unknowing(t *testing.T) *control.Control {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := control.New(&enginetest.Engine{}, dir, 0, slog.New(slog.DiscardHandler))
	if err := c.Restore(); !errors.Is(err, control.ErrUnknown) {
		t.Fatalf("restore from a file in place of the directory: %v", err)
	}
	return c
}

// serve sets two faults and then makes the circumstance.
func (c circumstance) serve(t *testing.T) testServer {
	t.Helper()
	e := &enginetest.Engine{}
	before := newTestServer(t, e)
	actions(t, before.do("PUT", "/v1/faults", `{"faults":[{"name":"latency","delay":"5ms","duration":"1h"},{"name":"slow-store","peers":["10.0.0.5"],"loss":{"percent":1}}]}`))
	if c.kernel != nil {
		e.Set(c.kernel)
	}
	s := newTestServer(t, e, func(config *httpapi.Config) {
		config.Control, config.Measure = before.Control, quickly
		if c.config != nil {
			c.config(config)
		}
	})
	if c.server != nil {
		c.server(s)
	}
	return s
}

// Each operation ends with a status exactly where the document has that
// status, and what it answers is as the document says.
func TestOpenAPIAnswers(t *testing.T) {
	d := readOpenAPI(t)
	operations := d.operations()
	for what, c := range circumstances(t) {
		for name, a := range asks() {
			if slices.Contains(c.unasked, name) {
				continue
			}
			t.Run(what+": "+name, func(t *testing.T) {
				s := c.serve(t)
				if c.ask != nil {
					a = c.ask(a)
				}
				var body io.Reader = strings.NewReader(a.body)
				if c.slow {
					never, end := io.Pipe()
					t.Cleanup(func() { _ = end.Close() })
					body = io.MultiReader(body, never)
				}
				response := s.send(a.method, a.path, body, a.headers...)
				operation, pointer := d.follow(operations[name])
				_, documented := operation["responses"].(object)[strconv.Itoa(c.status)]
				if ends := response.StatusCode == c.status; ends != documented && !slices.Contains(c.except, name) {
					t.Errorf("status %d; that it can be %d is documented: %t", response.StatusCode, c.status, documented)
				}
				d.check(t, pointer, response)
			})
		}
	}
}

// quickly measures, with less patience than was asked for.
func quickly(ctx context.Context, p measure.Plan) []api.Measurement {
	p.Count, p.Interval = min(p.Count, 2), time.Millisecond
	return measure.Run(ctx, p)
}

func TestOpenAPISuccesses(t *testing.T) {
	d := readOpenAPI(t)
	operations := d.operations()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	for what, query := range map[string]string{
		"plain": "", "dry run": "dryRun=true", "verified": "verify=true&peer=" + listener.Addr().String(), "nothing there": "",
	} {
		for name, a := range asks() {
			operation, pointer := d.follow(operations[name])
			changes := strings.Contains(fmt.Sprint(operation["parameters"]), "IfMatch")
			if name == "GET /latency/" || query != "" && !changes || what == "nothing there" && strings.Contains(name, "{name}") {
				continue
			}
			t.Run(what+": "+name, func(t *testing.T) {
				s := circumstance{}.serve(t)
				if what == "nothing there" {
					s.do("PUT", "/v1/faults", `{"faults":[]}`)
				}
				if query != "" {
					a = a.with(query)
				}
				response := s.do(a.method, a.path, a.body, a.headers...)
				if response.StatusCode != http.StatusOK {
					t.Errorf("status %d", response.StatusCode)
				}
				headers, _ := operation["responses"].(object)["200"].(object)["headers"].(object)
				_, tagged := headers["ETag"]
				if tag := response.Header.Get("ETag"); (tag != "") != (tagged && what != "dry run") {
					t.Errorf("ETag %q is documented: %t", tag, tagged)
				}
				d.check(t, pointer, response)
			})
		}
	}
	// Nothing is wanted any more, and no list is null.
	s := newTestServer(t, &enginetest.Engine{})
	_, pointer := d.follow(operations["PUT /v1/faults"])
	d.check(t, pointer, s.do("PUT", "/v1/faults", `{"faults":[]}`))
}
