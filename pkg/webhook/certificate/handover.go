package certificate

import (
	"crypto/tls"
	"sync"
	"time"
)

// settleTime is how long a CA is in the caBundle before a leaf of it is served:
// far more than API servers need to hear of it.
const settleTime = 10 * time.Second

// handover goes on with a leaf until the API server can trust the next one.
// Its zero value but for trust is ready for use.
type handover struct {
	trust *Trust

	mu      sync.Mutex
	serving *tls.Certificate
}

// choose returns the certificate to serve, given the latest there is.
func (h *handover) choose(latest *tls.Certificate, now time.Time) *tls.Certificate {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.serving == latest {
		return latest
	}
	if h.serving == nil || !now.Before(h.serving.Leaf.NotAfter) || h.ripe(latest, now) {
		h.serving = latest
	}
	return h.serving
}

// ripe reports whether the latest is trusted, and long enough, or the one that
// is served is not.
func (h *handover) ripe(latest *tls.Certificate, now time.Time) bool {
	if _, trusted := h.trust.Since(h.serving.Leaf); !trusted {
		return true
	}
	since, trusted := h.trust.Since(latest.Leaf)
	return trusted && now.Sub(since) >= settleTime
}
