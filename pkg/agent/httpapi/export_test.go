package httpapi

// MaxBody is the bound of a request's body.
const MaxBody = maxBody

// SetRequestBurst changes how many requests may come at once.
func (s *Server) SetRequestBurst(n int) { s.guard.limiter.SetBurst(n) }
