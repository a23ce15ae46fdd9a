package webhook

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadline(t *testing.T) {
	tests := map[string]time.Duration{
		"?timeout=10s": 9 * time.Second,
		"?timeout=3s":  2 * time.Second,
		"?timeout=2s":  time.Second,
		"?timeout=1s":  500 * time.Millisecond,
		"":             2 * time.Second,
		"?timeout=0s":  2 * time.Second,
		"?timeout=-1s": 2 * time.Second,
		"?timeout=abc": 2 * time.Second,
	}
	for query, want := range tests {
		synctest.Test(t, func(t *testing.T) {
			var got time.Duration
			handler := withDeadline(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if deadline, ok := r.Context().Deadline(); ok {
					got = time.Until(deadline)
				}
			}))
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, Path+query, nil))
			if got != want {
				t.Errorf("%q: %v to answer, want %v", query, got, want)
			}
		})
	}
}
