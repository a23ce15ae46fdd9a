package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tidelay/tidelay/pkg/agent/api"
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
	server func(t *testing.T, s testServer, e *fakeEngine)
	ask    func(ask) ask
	// except has the operations that end so for another cause only.
	except []string
}

// circumstances has one for each status.
func circumstances() map[string]circumstance {
	query := func(query string) func(ask) ask { return func(a ask) ask { return a.with(query) } }
	failing := func(err error) func(*testing.T, testServer, *fakeEngine) {
		return func(_ *testing.T, _ testServer, e *fakeEngine) {
			e.set(func(e *fakeEngine) { e.applyErr, e.readErr = err, err })
		}
	}
	return map[string]circumstance{
		"a bad request": {status: 400, ask: query("nobody=knows")},
		"no token": {status: 401, server: func(t *testing.T, s testServer, _ *fakeEngine) {
			s.guard.tokenFile = filepath.Join(t.TempDir(), "token")
		}},
		"read-only": {status: 403, server: func(_ *testing.T, s testServer, _ *fakeEngine) { s.guard.readOnly = true }},
		"no such fault": {status: 404, ask: func(a ask) ask {
			a.path = strings.ReplaceAll(a.path, "slow-store", "nobody")
			return a
		}, except: []string{"PUT /v1/faults/{name}"}},
		"somebody else's qdisc": {status: 409, server: failing(fmt.Errorf("qdisc htb 1:0: %w", fault.ErrForeign))},
		"another's change": {status: 412, ask: func(a ask) ask {
			a.headers = []string{"If-Match", `"0123456789abcdef"`}
			return a
		}},
		"a large body": {status: 413, ask: func(a ask) ask {
			a.body += strings.Repeat(" ", maxBody)
			return a
		}},
		"a kernel that can't": {status: 422, server: func(_ *testing.T, _ testServer, e *fakeEngine) {
			e.set(func(e *fakeEngine) { e.applyErr = fault.ErrUnsupported })
		}},
		"too many": {status: 429, server: func(_ *testing.T, s testServer, _ *fakeEngine) { s.guard.limiter.SetBurst(0) }},
		"a bug": {status: 500, server: func(_ *testing.T, s testServer, _ *fakeEngine) {
			s.control, s.measurer.run = nil, nil
		}, except: []string{"GET /metrics"}},
		"no engine": {status: 501, server: func(_ *testing.T, s testServer, _ *fakeEngine) {
			s.choice.name, s.control.engine = api.EngineNone, noEngine{reason: "no netem"}
		}},
		"no engine to be ready": {status: 503, server: func(_ *testing.T, s testServer, _ *fakeEngine) { s.choice.name = api.EngineNone }},
	}
}

// Each operation ends with a status exactly where the document has that
// status, and what it answers is as the document says.
func TestOpenAPIAnswers(t *testing.T) {
	d := readOpenAPI(t)
	operations := d.operations()
	for what, c := range circumstances() {
		for name, a := range asks() {
			t.Run(what+": "+name, func(t *testing.T) {
				e := &fakeEngine{}
				s := newTestServer(t, e, api.EngineNetem)
				s.prepare(c, e)
				if c.ask != nil {
					a = c.ask(a)
				}
				response := s.do(a.method, a.path, a.body, a.headers...)
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

// prepare sets two faults and then makes the circumstance.
func (s testServer) prepare(c circumstance, e *fakeEngine) {
	s.t.Helper()
	s.measurer.run = quickly
	actions(s.t, s.do("PUT", "/v1/faults", `{"faults":[{"name":"latency","delay":"5ms","duration":"1h"},{"name":"slow-store","peers":["10.0.0.5"],"loss":{"percent":1}}]}`))
	if c.server != nil {
		c.server(s.t, s, e)
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
				e := &fakeEngine{}
				s := newTestServer(t, e, api.EngineNetem)
				s.prepare(circumstance{}, e)
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
				_, tagged := operation["responses"].(object)["200"].(object)["headers"]
				if tag := response.Header.Get("ETag"); (tag != "") != (tagged && what != "dry run") {
					t.Errorf("ETag %q is documented: %t", tag, tagged)
				}
				d.check(t, pointer, response)
			})
		}
	}
	// Nothing is wanted any more, and no list is null.
	s := newTestServer(t, &fakeEngine{}, api.EngineNetem)
	_, pointer := d.follow(operations["PUT /v1/faults"])
	d.check(t, pointer, s.do("PUT", "/v1/faults", `{"faults":[]}`))
}

// The answers that the document shows are those that the agent gives.
func TestOpenAPIShowsRealAnswers(t *testing.T) {
	d := readOpenAPI(t)
	s := newTestServer(t, &fakeEngine{}, api.EngineNetem)
	const responses = "/components/responses/"
	set := at("/paths", "/v1/faults", "put")
	one := at("/paths", "/v1/faults/{name}")
	slow, _ := d.follow(at(set, "requestBody", "content", "application/json", "examples", "slowStore"))
	body, err := json.Marshal(slow["value"])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, path, body, place, name string }{
		{"GET", "/latency/20ms", "", at("/paths", "/latency/{delay}", "get", "responses", "200"), "set"},
		{"GET", "/latency", "", at("/paths", "/latency", "get", "responses", "200"), "set"},
		{"GET", "/latency/0", "", at("/paths", "/latency/{delay}", "get", "responses", "200"), "cleared"},
		{"GET", "/latency", "", at("/paths", "/latency", "get", "responses", "200"), "none"},
		{"DELETE", "/latency", "", at("/paths", "/latency", "delete", "responses", "200"), ""},
		{"PUT", "/v1/faults", string(body), at(set, "responses", "200"), ""},
		{"GET", "/v1/faults", "", at("/paths", "/v1/faults", "get", "responses", "200"), ""},
		{"GET", "/v1/faults/slow-store", "", at(one, "get", "responses", "200"), ""},
		{"DELETE", "/v1/faults/slow-store", "", at(one, "delete", "responses", "200"), ""},
		{"GET", "/v1/faults/slow-store", "", responses + "NoSuchFault", ""},
		{"PUT", "/v1/faults/slow-store", `{"peers":["10.0.0.5"],"delay":"20ms"}`, at(one, "put", "responses", "200"), ""},
		{"GET", "/latency/20m", "", responses + "BadRequest", ""},
		{"PUT", "/v1/faults", `{"faults":[{"name":"a","delay":"1ms"},{"name":"b","delay":"2ms"}]}`, responses + "Conflict", ""},
		{"PUT", "/v1/faults", strings.Repeat(" ", maxBody+1), responses + "TooLarge", ""},
	} {
		response, _ := d.follow(c.place)
		for _, media := range response["content"].(object) {
			want := media.(object)["example"]
			if c.name != "" {
				want = media.(object)["examples"].(object)[c.name].(object)["value"]
			}
			got, err := jsonschema.UnmarshalJSON(s.do(c.method, c.path, c.body).Body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(withTC(want, got), got); diff != "" {
				t.Errorf("%s %s (-document +agent):\n%s", c.method, c.path, diff)
			}
		}
	}
}

// withTC puts the commands of an answer into an example that has some of them.
func withTC(shown, got any) any {
	some, _ := shown.(object)["tc"].([]any)
	all, _ := got.(object)["tc"].([]any)
	for _, line := range some {
		if !slices.Contains(all, line) {
			return shown
		}
	}
	if len(some) == 0 {
		return shown
	}
	full := maps.Clone(shown.(object))
	full["tc"] = all
	return full
}

// check holds an answer against the operation at a place: its status, its
// media type, its headers and its body.
func (d openAPIDocument) check(t *testing.T, operation string, response *http.Response) {
	t.Helper()
	found, _ := d.follow(operation)
	status := strconv.Itoa(response.StatusCode)
	body := text(t, response)
	if found["responses"].(object)[status] == nil {
		t.Errorf("status %s is not documented: %s", status, body)
		return
	}
	answer, pointer := d.follow(at(operation, "responses", status))
	headers, _ := answer["headers"].(object)
	for name := range headers {
		header, place := d.follow(at(pointer, "headers", name))
		value := response.Header.Get(name)
		if value == "" && header["required"] != true {
			continue
		}
		var typed any = value
		if slices.Contains(d.typesOf(at(place, "schema")), "integer") {
			typed = json.Number(value)
		}
		if err := d.validate(at(place, "schema"), typed); err != nil {
			t.Errorf("header %s: %v", name, err)
		}
	}
	contentType, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	if answer["content"].(object)[contentType] == nil {
		t.Errorf("content type %q is not documented for status %s", contentType, status)
		return
	}
	var value any = body
	if strings.HasSuffix(contentType, "json") {
		var err error
		if value, err = jsonschema.UnmarshalJSON(strings.NewReader(body)); err != nil {
			t.Fatalf("body %q: %v", body, err)
		}
	}
	if err := d.validate(at(pointer, "content", contentType, "schema"), value); err != nil {
		t.Errorf("%v\n%s", err, body)
	}
}
