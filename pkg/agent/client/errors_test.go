package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

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

// The words for a cause have no address, and are the same each time.
func TestCause(t *testing.T) {
	read := func(port int, err error) error {
		return fmt.Errorf("POST /v1/measure: %w", &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: port}, Addr: &net.TCPAddr{Port: api.Port}, Err: err})
	}
	for want, errs := range map[string][]error{
		"connection reset by peer": {read(40000, syscall.ECONNRESET), read(40001, os.NewSyscallError("read", syscall.ECONNRESET))},
		"no answer in time":        {read(40000, os.ErrDeadlineExceeded), fmt.Errorf("POST: %w", context.DeadlineExceeded)},
		"no connection in time":    {&net.OpError{Op: "dial", Err: context.DeadlineExceeded}, &net.OpError{Op: "dial", Err: syscall.ETIMEDOUT}},
		"use of closed connection": {read(40000, errors.New("use of closed connection"))},
		"421 Misdirected Request: another pod": {
			fmt.Errorf("POST /v1/measure: %w", &client.Error{Problem: api.Problem{Status: 421, Detail: "another pod"}}),
		},
		"read agents' token: gone": {errors.New("read agents' token: gone")},
	} {
		for _, err := range errs {
			if got := client.Cause(err); got != want {
				t.Errorf("%v is told as %q, want %q", err, got, want)
			}
		}
	}
}
