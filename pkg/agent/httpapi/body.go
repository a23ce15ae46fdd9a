package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tidelay/tidelay/pkg/fault"
)

// What requests may hold in memory is bounded by how many are under way: a
// body, what it says, and the answer with its tc commands are a few MiB.
const (
	maxRequests = 8
	// maxEnds is how many requests beside those may end faults.
	maxEnds = 2
	// placePatience is how long a request waits while all others are worked on.
	placePatience = 5 * time.Second
	// maxBody is in bytes, far above the largest set of faults.
	maxBody = 256 << 10
)

var errSlow = errors.New("the request's body did not arrive in time")

// keyBody and keyPlace are the keys under which a request has its body and its
// place among the requests under way.
const (
	keyBody  = "body"
	keyPlace = "place"
)

// inPlace handles a request when it has a place among those under way. While it
// waits for its client, another request may take the place: then the body counts
// as late, and what is left of the answer is not sent.
func (s *Server) inPlace(c *gin.Context, places *pool) {
	conn, deadlines := connectionOf(c.Request.Context()), http.NewResponseController(c.Writer)
	var read atomic.Bool // the request is read; only its answer can be waited for
	place := places.join(address(c.Request.RemoteAddr), placePatience, func() {
		past := time.Unix(1, 0)
		_ = deadlines.SetReadDeadline(past) // fails on closed connections only
		if read.Load() {
			_ = deadlines.SetWriteDeadline(past)
		}
	})
	if place == nil {
		s.fail(c, fmt.Errorf("%w: others are under way", errTooMany))
		return
	}
	defer places.leave(place)
	defer conn.done()
	c.Set(keyPlace, func() {
		read.Store(true)
		conn.works(place)
	})
	if !takesBody(c) {
		beginWork(c)
	}
	c.Next()
}

// beginWork notes that a request is read, so that it keeps its place until its
// answer is being sent.
func beginWork(c *gin.Context) {
	if begin, ok := c.Get(keyPlace); ok {
		begin.(func())() //nolint:forcetypeassert // inPlace sets it
	}
}

// takesBody says whether the route of a request has a use for a body.
func takesBody(c *gin.Context) bool {
	return c.FullPath() != "" && (c.Request.Method == http.MethodPut || c.Request.Method == http.MethodPost)
}

// closeUnlessRead ends the connection after a request whose body is not read,
// instead of waiting for the body before the answer.
func closeUnlessRead(c *gin.Context) {
	if c.Request.ContentLength != 0 {
		c.Header("Connection", "close")
	}
}

// readBody reads a body as a whole before anything is done for the request.
func (s *Server) readBody(c *gin.Context) {
	if err := http.NewResponseController(c.Writer).SetReadDeadline(time.Now().Add(s.bodyTimeout)); err != nil {
		s.fail(c, fmt.Errorf("bound the time for the body: %w", err))
		return
	}
	content, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	beginWork(c)
	if err != nil {
		s.fail(c, bodyError(err))
		return
	}
	c.Header("Connection", "") // it can be used again
	c.Set(keyBody, content)
}

// bodyError says what a client did wrong whose body could not be read.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	var timeout net.Error
	switch {
	case errors.As(err, &tooLarge):
		return fmt.Errorf("read the request's body: %w", err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return errSlow
	default:
		return fault.Invalid{{Field: "body", Accepted: "want all of it: " + err.Error()}}
	}
}

// decodeBody decodes the body that readBody read.
func decodeBody(c *gin.Context, into any) error {
	content, _ := c.Get(keyBody)
	text, _ := content.([]byte)
	return fault.Decode(text, into)
}
