package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Bounds of what a client may ask for.
const (
	// maxBody is in bytes, far above the largest set of faults.
	maxBody = 256 << 10
	// requestsPerSecond and requestBurst are for all clients together, without
	// health checks.
	requestsPerSecond = 100
	requestBurst      = 300
)

var (
	errUnauthorized = errors.New("unauthorized")
	errReadOnly     = errors.New("this agent is read-only")
	errTooMany      = errors.New("too many requests")
)

// guard decides who may ask for what.
type guard struct {
	// tokenFile has the bearer token; empty for none.
	tokenFile string
	readOnly  bool
	limiter   *rate.Limiter
}

func newGuard(tokenFile string, readOnly bool) guard {
	return guard{tokenFile: tokenFile, readOnly: readOnly, limiter: rate.NewLimiter(requestsPerSecond, requestBurst)}
}

// authorize compares a request's token with that of the token file, in constant
// time. It is in Authorization (RFC 6750, 2.1) or in api.HeaderToken, and if both
// are there in the latter, since Authorization may be for something in between. It
// reads the file at each request, so that a rotated token counts at once. Nobody
// is let in when the file can't be read.
func (g guard) authorize(header http.Header) error {
	if g.tokenFile == "" {
		return nil
	}
	content, err := os.ReadFile(g.tokenFile)
	token := strings.TrimSpace(string(content))
	if err != nil || token == "" {
		return fmt.Errorf("%w: the agent has no token to compare with: --token-file is empty or can't be read", errUnauthorized)
	}
	want, got := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(givenToken(header)))
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return fmt.Errorf(`%w: want the header "Authorization: Bearer TOKEN" or "%s: TOKEN" with the agent's token`, errUnauthorized, api.HeaderToken)
	}
	return nil
}

// givenToken returns the token of a request; empty for none.
func givenToken(header http.Header) string {
	if token := strings.TrimSpace(header.Get(api.HeaderToken)); token != "" {
		return token
	}
	scheme, token, _ := strings.Cut(header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// admit refuses a request that is not authorized or comes too fast, and bounds
// the body of every other.
func (s *Server) admit(c *gin.Context) {
	if err := s.guard.authorize(c.Request.Header); err != nil {
		c.Header("WWW-Authenticate", `Bearer realm="tidelay"`)
		s.fail(c, err)
		return
	}
	if !s.guard.limiter.Allow() {
		c.Header("Retry-After", "1")
		s.fail(c, fmt.Errorf("%w: want at most %d per second", errTooMany, requestsPerSecond))
		return
	}
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxBody)
}

// mayChange refuses every request if the agent is read-only.
func (s *Server) mayChange(c *gin.Context) {
	if s.guard.readOnly {
		s.fail(c, fmt.Errorf("%w: it was started with --read-only", errReadOnly))
	}
}
