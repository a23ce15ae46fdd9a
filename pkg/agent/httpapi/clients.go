package httpapi

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of what one client, that is one address, may ask for.
const (
	requestsPerSecond = 100
	requestBurst      = 300
	// Tokens that are wrong. The burst is for a token that was rotated.
	guessesPerSecond = 1
	guessBurst       = 50
	// maxClients is how many addresses are remembered, those seen last.
	maxClients = 1024
)

// clients remembers how much each address asked for lately, so that one that
// asks for too much is refused alone.
type clients struct {
	mu    sync.Mutex
	all   map[netip.Addr]*clientLimits
	burst int
}

// clientLimits are those of one address.
type clientLimits struct {
	// requests is for all requests but those that end faults, and ends for
	// these: whoever reads too much can still end a fault.
	requests, ends *rate.Limiter
	// guesses is for wrong tokens, which are compared one at a time.
	guesses  *rate.Limiter
	guessing sync.Mutex
	seen     time.Time
}

func newClients() *clients {
	return &clients{all: make(map[netip.Addr]*clientLimits), burst: requestBurst}
}

// limits returns those of an address. The address that was not seen for longest
// is forgotten for a new one.
func (c *clients) limits(from netip.Addr) *clientLimits {
	c.mu.Lock()
	defer c.mu.Unlock()
	limits, known := c.all[from]
	if !known {
		if len(c.all) >= maxClients {
			c.forgetOldest()
		}
		limits = &clientLimits{
			requests: rate.NewLimiter(requestsPerSecond, c.burst),
			ends:     rate.NewLimiter(requestsPerSecond, c.burst),
			guesses:  rate.NewLimiter(guessesPerSecond, guessBurst),
		}
		c.all[from] = limits
	}
	limits.seen = time.Now()
	return limits
}

func (c *clients) forgetOldest() {
	var oldest netip.Addr
	var seen time.Time
	for addr, limits := range c.all {
		if seen.IsZero() || limits.seen.Before(seen) {
			oldest, seen = addr, limits.seen
		}
	}
	delete(c.all, oldest)
}
