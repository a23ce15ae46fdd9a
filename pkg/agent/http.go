package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// server answers the HTTP API.
type server struct {
	control     *control
	choice      choice
	devices     []api.Device
	exempt      fault.Exemption
	queueMemory uint64
	maxDuration time.Duration
	version     string
	guard       guard
	measurer    measurer
	metrics     *metrics
	log         *slog.Logger
}

// handler returns the routes. Errors are problem documents (RFC 9457), also
// for routes and methods that don't exist.
func (s *server) handler(registry *prometheus.Registry) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.RedirectTrailingSlash = false // "/latency/" is an empty delay, not a read
	r.UseRawPath = true             // "20ms%2F" is a bad delay, not another route
	r.UnescapePathValues = true
	r.Use(s.record, gin.CustomRecoveryWithWriter(nil, s.recovered))

	r.GET(api.PathHealthz, func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	r.GET(api.PathReadyz, s.getReadyz)

	guarded := r.Group("", s.admit)
	guarded.GET(api.PathMetrics, gin.WrapH(promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})))
	guarded.GET(api.PathOpenAPI, getOpenAPI)
	guarded.GET(api.PathStatus, s.getStatus)
	guarded.GET(api.PathLatency, s.getLatency)
	guarded.GET(api.PathFaults, s.getFaults)
	guarded.GET(api.PathFaults+"/:name", s.getFault)
	guarded.POST(api.PathMeasure, s.postMeasure)

	changing := guarded.Group("", s.mayChange)
	changing.GET(api.PathLatency+"/", s.setLatency)
	changing.GET(api.PathLatency+"/:delay", s.setLatency)
	changing.DELETE(api.PathLatency, s.clearLatency)
	changing.PUT(api.PathFaults, s.putFaults)
	changing.PUT(api.PathFaults+"/:name", s.putFault)
	changing.DELETE(api.PathFaults+"/:name", s.deleteFault)

	r.NoRoute(s.admit, func(c *gin.Context) {
		s.refuse(c, reasonNoRoute, http.StatusNotFound, fmt.Sprintf("no route %.100q; see %s", c.Request.URL.Path, api.PathOpenAPI))
	})
	r.NoMethod(s.admit, func(c *gin.Context) {
		s.refuse(c, reasonNoRoute, http.StatusMethodNotAllowed,
			fmt.Sprintf("method %.20s is not for this route; it takes %s", c.Request.Method, c.Writer.Header().Get("Allow")))
	})
	return r
}

// fail answers with a problem document for an error.
func (s *server) fail(c *gin.Context, err error) {
	reason, status := classify(err)
	if reason == reasonFailed {
		s.log.Error("request failed", "method", c.Request.Method, "route", c.FullPath(), "err", err)
	}
	var fields []api.FieldError
	if invalid, ok := errors.AsType[fault.Invalid](err); ok {
		for _, e := range invalid {
			fields = append(fields, api.FieldError(e))
		}
	}
	s.refuse(c, reason, status, err.Error(), fields...)
}

func (s *server) recovered(c *gin.Context, cause any) {
	s.log.Error("request panicked", "method", c.Request.Method, "route", c.FullPath(), "cause", fmt.Sprint(cause))
	s.refuse(c, reasonPanicked, http.StatusInternalServerError, "a bug in the agent; its log has the cause")
}

// refuse ends a request with a problem document.
func (s *server) refuse(c *gin.Context, reason string, status int, detail string, fields ...api.FieldError) {
	c.Set(keyReason, reason)
	c.Header("Content-Type", api.ContentTypeProblem)
	c.AbortWithStatusJSON(status, api.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Errors: fields})
}

func (s *server) getReadyz(c *gin.Context) {
	if s.choice.name == api.EngineNone {
		c.Set(keyReason, reasonNoEngine)
		c.String(http.StatusServiceUnavailable, "not ready: %s\n", s.choice.reason)
		return
	}
	c.String(http.StatusOK, "ok: engine %s: %s\n", s.choice.name, s.choice.reason)
}

func (s *server) getStatus(c *gin.Context) {
	if err := queryOnly(c); err != nil {
		s.fail(c, err)
		return
	}
	now, err := s.control.read()
	if err != nil && !errors.Is(err, errNoEngine) {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, s.status(now))
}

// limits is what flags and clock say about the faults of a request.
func (s *server) limits() fault.Limits {
	return fault.Limits{Now: s.control.now(), MaxDuration: s.maxDuration, Devices: deviceNames(s.devices)}
}
