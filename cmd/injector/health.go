package main

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// check is one condition of being ready.
type check struct {
	name  string
	check healthz.Checker
}

// health answers /healthz, always well while the process answers at all, and
// /readyz. controller-runtime's own withholds why it is not ready.
type health struct {
	checks []check
	log    logr.Logger
	last   atomic.Pointer[string]
}

// server returns a server of h at addr for a manager to run.
func (h *health) server(addr string) *manager.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", h.readyz)
	return &manager.Server{
		Name:   "health",
		Server: &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 5 * time.Second},
	}
}

// readyz answers 200, or 503 and the first condition that is not met. The log
// hears of it when the answer changes.
func (h *health) readyz(w http.ResponseWriter, r *http.Request) {
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

func (h *health) ready(r *http.Request) error {
	for _, c := range h.checks {
		if err := c.check(r); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}
