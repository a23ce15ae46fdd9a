package daemon

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Check is one condition of being ready.
type Check struct {
	Name  string
	Check healthz.Checker
}

// Health answers /healthz with 200 for as long as the process can answer, and
// /readyz depending on its checks. controller-runtime's own endpoint does not say
// why it is not ready.
type Health struct {
	// Checks are made in order, and the first that fails is the answer.
	Checks []Check
	// Log receives changes of the answer.
	Log logr.Logger

	// last is the last answer.
	last atomic.Pointer[string]
}

// Server returns a server of h at addr, for a manager to run.
func (h *Health) Server(addr string) *manager.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", h.readyz)
	return &manager.Server{
		Name:   "health",
		Server: &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 5 * time.Second},
	}
}

// readyz answers 200, or 503 with the first check that fails.
func (h *Health) readyz(w http.ResponseWriter, r *http.Request) {
	answer := "ok"
	err := h.ready(r)
	if err != nil {
		answer = "not ready: " + err.Error()
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = fmt.Fprintln(w, answer)
	if last := h.last.Swap(&answer); last == nil || *last != answer {
		h.Log.Info("readiness changed", "now", answer)
	}
}

func (h *Health) ready(r *http.Request) error {
	for _, c := range h.Checks {
		if err := c.Check(r); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}
