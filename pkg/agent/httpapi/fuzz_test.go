package httpapi_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/fault"
)

// FuzzRequest sends a method, a path and a body over a connection. Whatever they
// are, no answer is the agent's own failure, what is refused is a problem
// document and changes nothing, and what is not refused is what the kernel has.
func FuzzRequest(f *testing.F) {
	for _, a := range asks() {
		if a.path != api.PathMeasure { // it would open connections to anywhere
			f.Add(a.method, a.path, []byte(a.body))
		}
	}
	for _, seed := range []struct{ method, path, body string }{
		{"PUT", "/v1/faults", `{"faults":[{"name":"a","delay":"1ms","delay":"2ms"}]}`},
		{"PUT", "/v1/faults", `{"faults":[{"name":"a","DELAY":"1ms"}]}`},
		{"PUT", "/v1/faults", `{"faults":[{"name":"a","partition":true,"peers":[]}]}`},
		{"PUT", "/v1/faults", `{"faults":[{"name":"a","partition":true,"ports":{"remote":[70000]}}]}`},
		{"PUT", "/v1/faults", `{"faults":[{"name":"a","loss":{"percent":1e400}}]}`},
		{"PUT", "/v1/faults", `{"faults":null}`},
		{"PUT", "/v1/faults", `[]`},
		{"PUT", "/v1/faults", "\xef\xbb\xbf{\"faults\":[]}"},
		{"PUT", "/v1/faults", "{\"faults\":[{\"name\":\"\xff\"}]}"},
		{"PUT", "/v1/faults", strings.Repeat(`{"faults":[`, 5000)},
		{"PUT", "/v1/faults?owner=a&dryRun=true", `{"faults":[]}`},
		{"PUT", "/v1/faults/a%2Fb", `{"delay":"1ms"}`},
		{"PUT", "/v1/faults/a?dryRun=true", `{"delay":"1ms"}`},
		{"DELETE", "/v1/faults", ""},
		{"HEAD", "/latency/20ms", ""},
		{"GET", "/latency/20ms?peers=", ""},
		{"GET", "/latency/-1ms", ""},
		{"GET", "/latency/1e9s", ""},
		{"GET", "/latency/../v1/faults", ""},
		{"GET", "//latency//20ms", ""},
		{"BREW", "*", ""},
	} {
		f.Add(seed.method, seed.path, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		if strings.ContainsAny(method+path, " \r\n") || strings.Contains(path, api.PathMeasure) || strings.Contains(path, "verify") {
			t.Skip("another request line, or a measurement")
		}
		if _, err := url.ParseRequestURI(path); err != nil || method == "" || method == "CONNECT" {
			t.Skip("net/http answers")
		}
		e := &enginetest.Engine{}
		s := newTestServer(t, e)
		actions(t, s.do("PUT", "/v1/faults", `{"faults":[{"name":"before","peers":["10.0.0.1"],"delay":"1ms"}]}`))
		before, applied := s.Control.Desired(), e.Get().Applied
		status, header, answer, ok := sendRaw(t, s, method, path, body)
		if !ok || header.Get("X-Content-Type-Options") == "" && header.Get("Content-Type") == "text/plain; charset=utf-8" && status == http.StatusBadRequest {
			return // net/http refused it, before any handler
		}
		after := s.Control.Desired()
		switch {
		case status >= 500:
			t.Errorf("status %d: %s", status, answer)
		case status >= 400:
			var problem api.Problem
			if err := json.Unmarshal(answer, &problem); method != http.MethodHead && (err != nil || problem.Status != status || problem.Detail == "") {
				t.Errorf("status %d: %v in %q", status, err, answer)
			}
			if header.Get("Content-Type") != api.ContentTypeProblem {
				t.Errorf("status %d, content type %q", status, header.Get("Content-Type"))
			}
			if after.Revision != before.Revision || e.Get().Applied != applied {
				t.Errorf("status %d, and the faults are %+v", status, after.Wire)
			}
		}
		if got, want := fault.Names(e.Get().Faults), fault.Names(after.Faults); !cmp.Equal(got, want) {
			t.Errorf("the kernel has %q, desired are %q", got, want)
		}
		if status == http.StatusOK && header.Get("ETag") != "" && header.Get("ETag") != after.Revision {
			t.Errorf("ETag %s, and the faults are at %s", header.Get("ETag"), after.Revision)
		}
	})
}

// sendRaw sends a request without making it a proper one first. It is not ok
// when there is no answer.
func sendRaw(t *testing.T, s testServer, method, path string, body []byte) (status int, header http.Header, answer []byte, ok bool) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body); err != nil {
		return 0, nil, nil, false // refused before it was sent
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return 0, nil, nil, false
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, response.Header, answer, err == nil
}
