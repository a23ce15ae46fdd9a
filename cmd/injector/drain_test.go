package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func request(t *testing.T, handler http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w
}

func TestDrain(t *testing.T) {
	var d drain
	handler := d.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	if w := request(t, handler, "/"); d.ready(nil) != nil || w.Header().Get("Connection") != "" {
		t.Errorf("before: ready %v, Connection %q", d.ready(nil), w.Header().Get("Connection"))
	}
	d.begin()
	if w := request(t, handler, "/"); d.ready(nil) == nil || w.Header().Get("Connection") != "close" || w.Code != 200 {
		t.Errorf("after: ready %v, Connection %q, status %d; want an answer and the connection closed", d.ready(nil), w.Header().Get("Connection"), w.Code)
	}
}
