package httpapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// fail ends a request with a problem document for an error. It logs only what
// is not the client's doing.
func (s *Server) fail(c *gin.Context, err error) {
	reason, status := classify(err)
	if reason == reasonFailed {
		s.Log.Error("request failed", "method", c.Request.Method, "route", c.FullPath(), "err", err)
	}
	if reason == reasonTooMany {
		c.Header("Retry-After", "1")
	}
	invalid, _ := errors.AsType[fault.Invalid](err)
	s.refuse(c, reason, status, err.Error(), invalid...)
}

// recovered ends a request whose handler panicked.
func (s *Server) recovered(c *gin.Context, cause any) {
	s.Log.Error("request panicked", "method", c.Request.Method, "route", c.FullPath(), "cause", fmt.Sprint(cause))
	s.refuse(c, reasonPanicked, http.StatusInternalServerError, "a bug in the agent; its log has the cause")
}

// refuse ends a request with a problem document.
func (s *Server) refuse(c *gin.Context, reason string, status int, detail string, fields ...api.FieldError) {
	c.Set(keyReason, reason)
	c.Header("Content-Type", api.ContentTypeProblem)
	c.AbortWithStatusJSON(status, api.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Errors: fields})
}
