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

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

var (
	errUnauthorized = errors.New("unauthorized")
	errOtherPod     = errors.New("this is another pod")
	errReadOnly     = errors.New("this agent is read-only")
	errTooMany      = errors.New("too many requests")
)

// guard decides who may ask for what.
type guard struct {
	// tokenFile has the bearer token; empty for none.
	tokenFile string
	podUID    string // empty if it is not known
	readOnly  bool
	clients   *clients
}

func newGuard(c Config) guard {
	return guard{tokenFile: c.TokenFile, podUID: c.PodUID, readOnly: c.ReadOnly, clients: newClients()}
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
	if given, ok := header[http.CanonicalHeaderKey(api.HeaderToken)]; ok {
		return strings.TrimSpace(given[0])
	}
	scheme, token, _ := strings.Cut(header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// isForThisPod refuses a request whose api.HeaderPod names another pod. Without the
// header a request is for whichever pod it reaches. While the agent's own UID is not
// known, every UID is accepted.
func (g guard) isForThisPod(header http.Header) error {
	given := header.Values(api.HeaderPod)
	if len(given) == 0 {
		return nil
	}
	uid := strings.Join(given, ", ") // two of them are no UID
	switch {
	case !api.IsPodUID(uid):
		return fault.Invalid{{Field: "header " + api.HeaderPod, Value: api.Shorten(uid), Accepted: api.PodUIDAccepted + ", once; or leave it out"}}
	case g.podUID != "" && uid != g.podUID:
		return fmt.Errorf("%w: the request is for the pod with UID %s (%s), and the agent that got it is in the pod with UID %s; look up where the pod is now",
			errOtherPod, uid, api.HeaderPod, g.podUID)
	default:
		return nil
	}
}

// admit refuses a request that is not authorized, comes too fast, is meant for
// another pod, or finds too many others under way. The token comes first, so that
// nobody learns the pod's UID without it.
func (s *Server) admit(c *gin.Context) {
	limits := s.guard.clients.limits(address(c.Request.RemoteAddr))
	if err := s.guard.authorizeSlowly(limits, c.Request.Header); err != nil {
		if errors.Is(err, errUnauthorized) {
			c.Header("WWW-Authenticate", `Bearer realm="tidelay"`)
		}
		s.fail(c, err)
		return
	}
	limiter, places := limits.requests, s.requests
	if endsFaults(c.Request) {
		limiter, places = limits.ends, s.ends
	}
	if !limiter.Allow() {
		s.fail(c, fmt.Errorf("%w: want at most %d per second from one address", errTooMany, requestsPerSecond))
		return
	}
	if err := s.guard.isForThisPod(c.Request.Header); err != nil {
		s.fail(c, err)
		return
	}
	s.inPlace(c, places)
}

// authorizeSlowly is authorize for an address that may be guessing: one that was
// wrong too often is refused without a look at its token, also at a right one,
// for else the guesser would learn which is right.
func (g guard) authorizeSlowly(limits *clientLimits, header http.Header) error {
	if givenToken(header) == "" {
		return g.authorize(header)
	}
	limits.guessing.Lock()
	defer limits.guessing.Unlock()
	if limits.guesses.Tokens() < 1 {
		return fmt.Errorf("%w: wrong tokens came from this address; want at most %d per second", errTooMany, guessesPerSecond)
	}
	err := g.authorize(header)
	if err != nil {
		limits.guesses.Allow()
	}
	return err
}

// endsFaults says whether a request can only end faults.
func endsFaults(r *http.Request) bool {
	if r.Method == http.MethodDelete {
		return true
	}
	delay, isLatency := strings.CutPrefix(r.URL.Path, api.PathLatency+"/")
	parsed, err := fault.ParseDelay(delay)
	return r.Method == http.MethodGet && isLatency && err == nil && parsed == 0
}

// mayChange refuses every request if the agent is read-only.
func (s *Server) mayChange(c *gin.Context) {
	if s.guard.readOnly {
		s.fail(c, fmt.Errorf("%w: it was started with --read-only", errReadOnly))
	}
}
