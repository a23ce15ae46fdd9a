package webhook

import (
	"context"
	"net/http"
	"time"
)

// defaultTimeout is used if the API server sends no timeout. It is the
// timeoutSeconds of the manifest.
const defaultTimeout = 3 * time.Second

// withDeadline gives every request a deadline: the time that the API server waits for
// the answer, less some time to send it. The API server sends its timeout as a query
// parameter, rounded up to a whole second
// (k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go).
func withDeadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), budget(r.URL.Query().Get("timeout")))
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// budget returns how long an answer may take, given the API server's timeout: one
// second less, but at least half of it.
func budget(timeout string) time.Duration {
	d, err := time.ParseDuration(timeout)
	if err != nil || d <= 0 {
		d = defaultTimeout
	}
	return max(d-time.Second, d/2)
}
