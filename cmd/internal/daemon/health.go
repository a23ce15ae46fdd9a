package daemon

import (
	"context"
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
// why it is not ready, and begins to answer only with the manager, which can't be
// made before the API server answers.
type Health struct {
	log    logr.Logger
	checks atomic.Pointer[[]Check]
	// last is the last answer.
	last atomic.Pointer[string]
}

// NewHealth returns a Health that is not ready. Changes of its answer are logged.
func NewHealth(log logr.Logger) *Health {
	h := &Health{log: log}
	h.Require(Failed("start", errStarting))
	return h
}

// Require replaces the checks. They are made in order, and the first that fails is
// the answer.
func (h *Health) Require(checks ...Check) { h.checks.Store(&checks) }

// Failed returns a check that fails with err.
func Failed(name string, err error) Check {
	return Check{Name: name, Check: func(*http.Request) error { return err }}
}

// Serve serves h at addr until ctx ends.
func (h *Health) Serve(ctx context.Context, addr string) error {
	server := &manager.Server{
		Name:   "health",
		Server: &http.Server{Addr: addr, Handler: h.handler(), ReadHeaderTimeout: 5 * time.Second},
	}
	if err := server.Start(ctx); err != nil {
		return fmt.Errorf("serve health: %w", err)
	}
	return nil
}

func (h *Health) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", h.readyz)
	return mux
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
		h.log.Info("readiness changed", "now", answer)
	}
}

func (h *Health) ready(r *http.Request) error {
	for _, c := range *h.checks.Load() {
		if err := c.Check(r); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}
