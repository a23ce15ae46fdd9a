package agent

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Bounds of what a client may ask for.
const (
	// maxBody is far above the largest set of faults.
	maxBody = 256 << 10
	// requestsPerSecond and requestBurst are over all clients together; health
	// checks are not counted.
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
	// tokenFile holds the bearer token; empty for none.
	tokenFile string
	readOnly  bool
	limiter   *rate.Limiter
}

func newGuard(tokenFile string, readOnly bool) guard {
	return guard{tokenFile: tokenFile, readOnly: readOnly, limiter: rate.NewLimiter(requestsPerSecond, requestBurst)}
}

// authorize compares a request's bearer token (RFC 6750, 2.1) with the file's
// in a time that depends on neither. The file is read each time, so that a
// rotated token holds at once; one that can't be read lets nobody in.
func (g guard) authorize(header string) error {
	if g.tokenFile == "" {
		return nil
	}
	content, err := os.ReadFile(g.tokenFile)
	token := strings.TrimSpace(string(content))
	if err != nil || token == "" {
		return fmt.Errorf("%w: the agent has no token to compare with: --token-file is empty or can't be read", errUnauthorized)
	}
	scheme, given, _ := strings.Cut(header, " ")
	want, got := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(strings.TrimSpace(given)))
	if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return fmt.Errorf(`%w: want the header "Authorization: Bearer TOKEN" with the agent's token`, errUnauthorized)
	}
	return nil
}

// admit lets a request through that is authorized and not one too many, and
// bounds its body.
func (s *server) admit(c *gin.Context) {
	if err := s.guard.authorize(c.GetHeader("Authorization")); err != nil {
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

// mayChange refuses changes of a read-only agent.
func (s *server) mayChange(c *gin.Context) {
	if s.guard.readOnly {
		s.fail(c, fmt.Errorf("%w: it was started with --read-only", errReadOnly))
	}
}

// keyReason is where a handler leaves the reason of an outcome that is not
// reasonOK.
const keyReason = "reason"

// record logs and counts every request with its reason. Those that monitoring
// makes all the time are only worth a line when they fail.
func (s *server) record(c *gin.Context) {
	start := time.Now()
	c.Next()
	reason := c.GetString(keyReason)
	if reason == "" {
		reason = reasonOK
	}
	route := c.FullPath()
	if route == "" {
		route = "none"
	}
	s.metrics.requested(c.Request.Method, route, reason)
	level := slog.LevelInfo
	switch route {
	case api.PathHealthz, api.PathReadyz, api.PathMetrics:
		if reason == reasonOK {
			level = slog.LevelDebug
		}
	}
	s.log.Log(c.Request.Context(), level, "request", "method", c.Request.Method, "path", shortPath(c.Request.URL.Path), "from", c.Request.RemoteAddr,
		"status", c.Writer.Status(), "reason", reason, "took", time.Since(start).String())
}

// shortPath keeps a long path from filling the log.
func shortPath(path string) string {
	const most = 128
	if len(path) > most {
		return strings.ToValidUTF8(path[:most], "") + "..."
	}
	return path
}
