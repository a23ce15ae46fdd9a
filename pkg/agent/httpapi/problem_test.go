package httpapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
	"github.com/tidelay/tidelay/pkg/fault"
)

func TestErrorsAreProblemDocuments(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		engine             *enginetest.Engine
		method, path, body string
		want               int
		detail             string
	}{
		"a bad delay":            {&enginetest.Engine{}, "GET", "/latency/abc", "", 400, `"abc"`},
		"tc's arguments":         {&enginetest.Engine{}, "GET", "/latency/20ms%20loss%2050%25", "", 400, `"20ms loss 50%"`},
		"an escaped slash":       {&enginetest.Engine{}, "GET", "/latency/20ms%2F", "", 400, `"20ms/"`},
		"an empty delay":         {&enginetest.Engine{}, "GET", "/latency/", "", 400, `""`},
		"a jitter of nothing":    {&enginetest.Engine{}, "GET", "/latency/0?jitter=5ms", "", 400, "query jitter"},
		"an unknown query":       {&enginetest.Engine{}, "GET", "/latency/20ms?jiter=5ms", "", 400, "query jiter"},
		"a query twice":          {&enginetest.Engine{}, "GET", "/latency/20ms?jitter=5ms&jitter=6ms", "", 400, "want it once"},
		"a query of nothing":     {&enginetest.Engine{}, "GET", "/latency/20ms?jitter=", "", 400, "leave it out"},
		"a bad query":            {&enginetest.Engine{}, "GET", "/latency/20ms?correlation=NaN&jitter=1ms", "", 400, "percentage"},
		"a broken query":         {&enginetest.Engine{}, "GET", "/latency/20ms?a=%zz", "", 400, "percent-encoded"},
		"a dry run maybe":        {&enginetest.Engine{}, "GET", "/latency/20ms?dryRun=maybe", "", 400, "true or false"},
		"verify nobody":          {&enginetest.Engine{}, "GET", "/latency/20ms?verify=true", "", 400, "peer"},
		"verify a dry run":       {&enginetest.Engine{}, "GET", "/latency/20ms?verify=true&peer=10.0.0.1&dryRun=true", "", 400, "dry run"},
		"verify a name":          {&enginetest.Engine{}, "GET", "/latency/20ms?verify=true&peer=pd-0", "", 400, "peer"},
		"verify ten minutes":     {&enginetest.Engine{}, "GET", "/latency/600s?verify=true&peer=10.0.0.1", "", 400, "10m0s"},
		"a query on a read":      {&enginetest.Engine{}, "GET", "/latency?delay=20ms", "", 400, "query delay"},
		"a query on a clear":     {&enginetest.Engine{}, "DELETE", "/latency?now", "", 400, "query now"},
		"no body":                {&enginetest.Engine{}, "PUT", "/v1/faults", "", 400, "want a JSON object"},
		"no JSON":                {&enginetest.Engine{}, "PUT", "/v1/faults", "delay: 20ms", 400, "want JSON"},
		"no faults":              {&enginetest.Engine{}, "PUT", "/v1/faults", "{}", 400, "want a list"},
		"two values":             {&enginetest.Engine{}, "PUT", "/v1/faults", `{"faults":[]}{}`, 400, "nothing behind it"},
		"an unknown field":       {&enginetest.Engine{}, "PUT", "/v1/faults/a", `{"dealy":"20ms"}`, 400, "dealy"},
		"a wrong type":           {&enginetest.Engine{}, "PUT", "/v1/faults/a", `{"delay":20}`, 400, "want a string"},
		"a bad port":             {&enginetest.Engine{}, "PUT", "/v1/faults/a", `{"ports":{"remote":[0]}}`, 400, "1 to 65535"},
		"another name":           {&enginetest.Engine{}, "PUT", "/v1/faults/a", `{"name":"b","delay":"1ms"}`, 400, "name of the path"},
		"a bad name":             {&enginetest.Engine{}, "PUT", "/v1/faults/A%20B", `{"delay":"1ms"}`, 400, "a-z"},
		"nothing to do":          {&enginetest.Engine{}, "PUT", "/v1/faults/a", `{}`, 400, "at least one"},
		"a body without end":     {&enginetest.Engine{}, "PUT", "/v1/faults", `{"faults":[` + strings.Repeat(" ", 300<<10), 413, "too large"},
		"the same packets":       {&enginetest.Engine{}, "PUT", "/v1/faults", `{"faults":[{"name":"a","delay":"1ms"},{"name":"b","delay":"2ms"}]}`, 409, `"a" and "b"`},
		"no such fault":          {&enginetest.Engine{}, "GET", "/v1/faults/a", "", 404, `"a"`},
		"no such fault to clear": {&enginetest.Engine{}, "DELETE", "/v1/faults/a", "", 404, `"a"`},
		"measure nothing":        {&enginetest.Engine{}, "POST", "/v1/measure", `{"targets":[]}`, 400, "targets"},
		"no route":               {&enginetest.Engine{}, "GET", "/v2/status", "", 404, "/v2/status"},
		"a longer path":          {&enginetest.Engine{}, "GET", "/latency/20ms/5ms", "", 404, "/latency/20ms/5ms"},
		"another method":         {&enginetest.Engine{}, "POST", "/latency", "", 405, "GET"},
		"a foreign root":         {enginetest.New(enginetest.Kernel{ApplyErr: fmt.Errorf("qdisc htb 1:0: %w", fault.ErrForeign)}), "GET", "/latency/20ms", "", 409, "htb"},
		"a kernel that can't":    {enginetest.New(enginetest.Kernel{ApplyErr: fault.ErrUnsupported}), "GET", "/latency/20ms", "", 422, "not supported"},
		"a kernel that fails":    {enginetest.New(enginetest.Kernel{ApplyErr: boom}), "GET", "/latency/20ms", "", 500, "boom"},
		"a clear that fails":     {enginetest.New(enginetest.Kernel{ApplyErr: boom}), "DELETE", "/latency", "", 500, "boom"},
		"a read that fails":      {enginetest.New(enginetest.Kernel{StateErr: boom}), "GET", "/latency", "", 500, "boom"},
		"a status that fails":    {enginetest.New(enginetest.Kernel{StateErr: boom}), "GET", "/v1/status", "", 500, "boom"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestServer(t, c.engine)
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
			if faults := c.engine.Get().Faults; len(faults) != 0 {
				t.Errorf("the kernel was changed: %+v", faults)
			}
		})
	}
}

// panicEngine stands for a bug.
type panicEngine struct{ enginetest.Engine }

func (*panicEngine) State([]fault.Fault) (fault.State, error) { panic("bug") }

func TestPanicIsAProblemToo(t *testing.T) {
	s := newTestServer(t, &panicEngine{})
	response := s.get("/latency")
	if response.StatusCode != http.StatusInternalServerError || response.Header.Get("Content-Type") != api.ContentTypeProblem {
		t.Errorf("status %d, content type %q", response.StatusCode, response.Header.Get("Content-Type"))
	}
}

func TestNoEngineSaysWhy(t *testing.T) {
	missing := fmt.Errorf("%w: no netem", control.ErrNoEngine)
	e := enginetest.New(enginetest.Kernel{ApplyErr: missing, StateErr: missing})
	s := newTestServer(t, e, func(c *httpapi.Config) { c.Engine = engine(api.EngineNone, "no netem") })
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
