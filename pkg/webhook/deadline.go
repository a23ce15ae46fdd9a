package webhook

import (
	"context"
	"net/http"
	"time"
)

// defaultTimeout stands in for a timeout the API server did not send. It is the
// timeoutSeconds of the manifest.
const defaultTimeout = 3 * time.Second

// withDeadline gives every request the time the API server will wait for it,
// less a part to carry the answer back. The API server sends its timeout as a
// query parameter, rounded up to a whole second.
func withDeadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), budget(r.URL.Query().Get("timeout")))
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// budget is how long an answer may take: the timeout less a second, and of
// short ones half.
func budget(timeout string) time.Duration {
	d, err := time.ParseDuration(timeout)
	if err != nil || d <= 0 {
		d = defaultTimeout
	}
	return max(d-time.Second, d/2)
}
