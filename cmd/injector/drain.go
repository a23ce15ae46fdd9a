package main

import (
	"errors"
	"net/http"
	"sync/atomic"
)

// drain sends clients elsewhere while the process still serves them.
type drain struct {
	begun atomic.Bool
}

func (d *drain) begin() { d.begun.Store(true) }

// ready is a healthz.Checker that fails once the drain has begun.
func (d *drain) ready(*http.Request) error {
	if d.begun.Load() {
		return errors.New("shutting down")
	}
	return nil
}

// wrap closes the connection after each answer once the drain has begun, so
// that the next request opens one to another replica.
func (d *drain) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.begun.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
