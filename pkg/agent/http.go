package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/fault"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
)

// server answers the HTTP API.
type server struct {
	control *control
	choice  choice
	device  rtnl.Device
	exempt  fault.Exemption
	version string
	metrics *metrics
	log     *slog.Logger
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
	r.Use(gin.CustomRecoveryWithWriter(nil, s.recovered))

	r.GET(api.PathLatency, s.getLatency)
	r.GET(api.PathLatency+"/", s.setLatency)
	r.GET(api.PathLatency+"/:delay", s.setLatency)
	r.DELETE(api.PathLatency, s.clearLatency)
	r.GET(api.PathStatus, s.getStatus)
	r.GET(api.PathHealthz, func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	r.GET(api.PathReadyz, s.getReadyz)
	r.GET(api.PathMetrics, gin.WrapH(promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})))
	r.NoRoute(func(c *gin.Context) {
		problem(c, http.StatusNotFound, fmt.Sprintf("no route %.100q; see %s and %s", c.Request.URL.Path, api.PathLatency, api.PathStatus))
	})
	r.NoMethod(func(c *gin.Context) {
		problem(c, http.StatusMethodNotAllowed, fmt.Sprintf("method %.20s is not for this route; it takes %s", c.Request.Method, c.Writer.Header().Get("Allow")))
	})
	return r
}

func (s *server) setLatency(c *gin.Context) {
	if !noQuery(c) {
		s.metrics.changed(opSet, resultRejected)
		return
	}
	delay, err := fault.ParseDelay(c.Param("delay"))
	if err != nil {
		s.metrics.changed(opSet, resultRejected)
		problem(c, http.StatusBadRequest, err.Error())
		return
	}
	if delay == 0 {
		s.clearLatency(c)
		return
	}
	state, err := s.control.set(fault.Fault{Name: fault.Latency, Delay: delay})
	s.answerChange(c, opSet, state, err)
}

func (s *server) clearLatency(c *gin.Context) {
	if !noQuery(c) {
		s.metrics.changed(opClear, resultRejected)
		return
	}
	state, err := s.control.clear()
	s.answerChange(c, opClear, state, err)
}

func (s *server) answerChange(c *gin.Context, op string, state fault.State, err error) {
	if err != nil {
		s.metrics.changed(op, resultFailed)
		s.fail(c, err)
		return
	}
	s.metrics.changed(op, resultOK)
	c.JSON(http.StatusOK, s.latency(state))
}

// noQuery refuses what would otherwise be silently ignored: a fault that is
// not quite the one asked for.
func noQuery(c *gin.Context) bool {
	if c.Request.URL.RawQuery == "" {
		return true
	}
	problem(c, http.StatusBadRequest, fmt.Sprintf("query %.100q: this version takes no query parameters", c.Request.URL.RawQuery))
	return false
}

func (s *server) getLatency(c *gin.Context) {
	if !noQuery(c) {
		return
	}
	state, err := s.control.state()
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, s.latency(state))
}

func (s *server) getStatus(c *gin.Context) {
	state, err := s.control.state()
	if err != nil {
		s.fail(c, err)
		return
	}
	status := api.Status{
		Engine:       s.choice.name,
		Reason:       s.choice.reason,
		Capabilities: s.choice.capabilities,
		Devices:      []api.Device{},
		Faults:       []api.FaultStatus{},
		Exempt:       exemptions(s.exempt),
		Version:      s.version,
	}
	if s.device.Name != "" {
		status.Devices = append(status.Devices, api.Device(s.device))
	}
	if state.Fault != nil {
		status.Faults = append(status.Faults, api.FaultStatus{Fault: wireFault(*state.Fault), Counters: api.Counters(state.Counters)})
	}
	c.JSON(http.StatusOK, status)
}

func (s *server) getReadyz(c *gin.Context) {
	if s.choice.name == engineNone {
		c.String(http.StatusServiceUnavailable, "not ready: %s\n", s.choice.reason)
		return
	}
	c.String(http.StatusOK, "ok: engine %s: %s\n", s.choice.name, s.choice.reason)
}

// fail maps an error to its status.
func (s *server) fail(c *gin.Context, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, errNoEngine):
		status = http.StatusNotImplemented
	case errors.Is(err, fault.ErrForeign):
		status = http.StatusConflict
	case errors.Is(err, fault.ErrUnsupported):
		status = http.StatusUnprocessableEntity
	default:
		s.log.Error("request failed", "method", c.Request.Method, "route", c.FullPath(), "err", err)
	}
	problem(c, status, err.Error())
}

func (s *server) recovered(c *gin.Context, cause any) {
	s.log.Error("request panicked", "method", c.Request.Method, "route", c.FullPath(), "cause", fmt.Sprint(cause))
	problem(c, http.StatusInternalServerError, "a bug in the agent; its log has the cause")
}

func problem(c *gin.Context, status int, detail string) {
	c.Header("Content-Type", api.ContentTypeProblem)
	c.AbortWithStatusJSON(status, api.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail})
}
