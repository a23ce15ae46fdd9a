package httpapi

import (
	"log/slog"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// keyReason is the key under which a handler leaves its reason for record;
// without one it is reasonOK.
const keyReason = "reason"

// record logs and counts every request with its reason. Requests of monitoring
// that succeed are logged at the level debug, because they come all the time.
func (s *Server) record(c *gin.Context) {
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
	s.Log.Log(c.Request.Context(), level, "request", "method", c.Request.Method, "path", shortPath(c.Request.URL.Path), "from", c.Request.RemoteAddr,
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
