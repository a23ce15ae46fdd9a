package httpapi

import "time"

// MaxBody is the bound of a request's body.
const MaxBody = maxBody

// SetRequestBurst changes how many requests may come at once.
func (s *Server) SetRequestBurst(n int) { s.guard.clients.burst = n }

// SetBodyTimeout changes how long a body may take to arrive.
func (s *Server) SetBodyTimeout(d time.Duration) { s.bodyTimeout = d }
