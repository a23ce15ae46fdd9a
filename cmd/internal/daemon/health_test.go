package daemon

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"
)

func request(t *testing.T, handler http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w
}

func TestHealth(t *testing.T) {
	var log bytes.Buffer
	problems := map[string]error{"first": errors.New("no certificate"), "second": errors.New("not synced")}
	h := NewHealth(logr.FromSlogHandler(slog.NewTextHandler(&log, nil)))
	handler := h.handler()
	if w := request(t, handler, "/readyz"); w.Code != 503 || w.Body.String() != "not ready: start: not started yet\n" {
		t.Errorf("readyz at first: %d %q", w.Code, w.Body)
	}
	check := func(name string) Check {
		return Check{name, func(*http.Request) error { return problems[name] }}
	}
	h.Require(check("first"), check("second"))

	steps := []struct {
		fixed  string
		status int
		body   string
	}{
		{"", 503, "not ready: first: no certificate\n"},
		{"", 503, "not ready: first: no certificate\n"},
		{"first", 503, "not ready: second: not synced\n"},
		{"second", 200, "ok\n"},
	}
	for _, step := range steps {
		delete(problems, step.fixed)
		if w := request(t, handler, "/readyz"); w.Code != step.status || w.Body.String() != step.body {
			t.Errorf("readyz: %d %q, want %d %q", w.Code, w.Body, step.status, step.body)
		}
		if w := request(t, handler, "/healthz"); w.Code != 200 {
			t.Errorf("healthz: %d, want 200 whatever readyz says", w.Code)
		}
	}
	if lines := strings.Count(log.String(), "readiness changed"); lines != 4 {
		t.Errorf("%d log lines, want one for each change, 4:\n%s", lines, log.String())
	}
}
