package missed

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// How agents are asked. Where a NetworkPolicy drops the controller's packets, each
// question takes its whole time.
const (
	askTime = time.Second
	// askAllTime is for all agents. One that was not asked by then counts as silent.
	askAllTime  = 30 * time.Second
	askParallel = 256
	maxReply    = 4 << 10 // bytes
	// maxWords is the largest number of bytes of an agent's words that is repeated.
	maxWords = 200
)

// reply is what came of asking an agent.
type reply struct {
	kind replyKind
	// detail is what is wrong, for a person.
	detail string
}

type replyKind int

const (
	// silent: nobody answered in time, or something in between is in the way.
	silent replyKind = iota
	// refused: the pod refused the connection, or a NetworkPolicy that rejects did.
	refused
	// notAgent: something that is no agent answered.
	notAgent
	// unready: the agent answered that it can't set faults.
	unready
	// ready: the agent answered.
	ready
)

// Asker asks agents how they are, by PathReadyz, which needs no token.
type Asker struct {
	client *http.Client
}

// NewAsker returns an Asker.
func NewAsker() *Asker {
	return &Asker{client: &http.Client{
		Timeout: askTime,
		// Connections are not kept: the next question comes half a minute later.
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// ask asks the agents at IP addresses, many at once, and returns a reply for each.
func (a *Asker) ask(ctx context.Context, addresses []string) []reply {
	ctx, cancel := context.WithTimeout(ctx, askAllTime)
	defer cancel()
	replies := make([]reply, len(addresses))
	var group errgroup.Group
	group.SetLimit(askParallel)
	// In another order each time, so that not always the same have no time left.
	for _, i := range rand.Perm(len(addresses)) {
		group.Go(func() error {
			replies[i] = a.askAt(ctx, net.JoinHostPort(addresses[i], strconv.Itoa(api.Port)))
			return nil
		})
	}
	_ = group.Wait() // there is no error
	return replies
}

// askAt asks the agent at an address.
func (a *Asker) askAt(ctx context.Context, address string) reply {
	var spoke atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { spoke.Store(true) }})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+api.PathReadyz, http.NoBody)
	if err != nil {
		return reply{}
	}
	response, err := a.client.Do(request)
	netError, ok := errors.AsType[net.Error](err)
	timedOut := ok && netError.Timeout()
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return reply{refused, "nobody listens on the agent's port"}
	case err != nil && spoke.Load() && !timedOut:
		return reply{notAgent, "something that speaks no HTTP has the agent's port"}
	case err != nil:
		return reply{}
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxReply)) // as much as there is
	return replyOf(response.StatusCode, response.Header.Get("Server"), cut(string(body), maxWords))
}

// replyOf returns the reply for an answer of HTTP. A service mesh may put its own name in
// the header Server, and may answer itself that it lets nobody through or reaches nobody.
func replyOf(status int, server, body string) reply {
	isAgent := server == api.ServerName || strings.HasPrefix(body, "ok: engine ") || strings.HasPrefix(body, "not ready: ")
	switch {
	case isAgent && status == http.StatusOK:
		return reply{kind: ready}
	case isAgent:
		return reply{unready, body}
	case status == http.StatusForbidden, status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return reply{}
	default:
		return reply{notAgent, "something else has the agent's port"}
	}
}
