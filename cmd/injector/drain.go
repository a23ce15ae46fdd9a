package main

import (
	"errors"
	"net/http"
	"sync/atomic"
)

// drain makes clients go to other replicas while this one still serves them.
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

// wrap closes the connection after each answer when the drain has begun, so that the
// next request opens a connection to another replica.
func (d *drain) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.begun.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
