package certificate

import (
	"crypto/tls"
	"sync"
	"time"
)

// settleTime is how long a CA must be in the caBundle before a leaf of it is served. API
// servers take far less time to notice a changed caBundle.
const settleTime = 10 * time.Second

// handover keeps serving a leaf until the API server can trust the next one. Only its
// field trust must be set.
type handover struct {
	trust *Trust

	mu      sync.Mutex
	serving *tls.Certificate
}

// choose returns the certificate to serve, given the latest one.
func (h *handover) choose(latest *tls.Certificate, now time.Time) *tls.Certificate {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.serving == latest {
		return latest
	}
	if h.serving == nil || !now.Before(h.serving.Leaf.NotAfter) || h.ready(latest, now) {
		h.serving = latest
	}
	return h.serving
}

// ready reports whether to serve the latest certificate: it has been trusted for
// settleTime, or the one that is served is not trusted at all.
func (h *handover) ready(latest *tls.Certificate, now time.Time) bool {
	if _, trusted := h.trust.Since(h.serving.Leaf); !trusted {
		return true
	}
	since, trusted := h.trust.Since(latest.Leaf)
	return trusted && now.Sub(since) >= settleTime
}
