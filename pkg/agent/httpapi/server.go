package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Control keeps the desired set of faults; *control.Control is one.
type Control interface {
	// Change makes a change of the desired set.
	Change(control.Request) (control.Outcome, error)
	// Now returns the time by which faults end.
	Now() fault.Moment
	// Desired returns the desired set.
	Desired() control.Set
	// Unknown returns why the desired set is not known; nil if it is.
	Unknown() error
	// Read returns the desired set with what the kernel has of it.
	Read() (control.Snapshot, error)
}

// TC writes faults as tc(8) commands, whichever engine runs.
type TC interface {
	// Equivalent returns the one command that comes closest to a fault on a
	// device.
	Equivalent(device string, f fault.Fault) string
	// Commands returns those that build the kernel state of a set where the
	// engine is netem.
	Commands(faults []fault.Fault) []string
}

// Config is what a server serves, and to whom.
type Config struct {
	Control Control
	TC      TC
	// Measure carries out a plan; measure.Run does.
	Measure func(context.Context, measure.Plan) []api.Measurement
	// DeviceTo returns the interface by which packets to an address leave;
	// rtnl.DeviceTo does.
	DeviceTo func(netip.Addr) (string, error)

	// Engine returns the engine that runs now.
	Engine func() Engine
	// Devices returns the interfaces that faults act on now, or why there are
	// none.
	Devices func() ([]api.Device, error)
	// Exempt returns the traffic that no fault touches.
	Exempt func() fault.Exemption
	// Warnings returns what of the agent does not work now, for the status.
	Warnings func() []string
	// Version is the agent's.
	Version string
	// PodUID is the UID of the agent's pod; empty if it is not known. Requests that
	// name another pod are refused.
	PodUID string

	// MaxDuration caps the duration of every fault, and is that of a fault
	// without one; 0 for no cap.
	MaxDuration time.Duration
	// TokenFile has the bearer token that every route but health asks for; empty
	// for none. It is read at every request.
	TokenFile string
	// ReadOnly refuses every change.
	ReadOnly bool

	// Registry gets the server's metrics, and is what PathMetrics shows.
	Registry *prometheus.Registry
	Log      *slog.Logger
}

// Engine is the engine that runs.
type Engine struct {
	// Name is api.EngineNone without one. Reason says why this one was chosen, or why
	// there is none.
	Name, Reason string
	// Capabilities says of each engine whether this kernel can run it.
	Capabilities map[string]api.Capability
}

// Server answers the HTTP API.
type Server struct {
	Config
	guard    guard
	measurer measurer
	metrics  *metrics

	// requests are those under way, and ends those of them that end faults:
	// nothing else may keep a fault from ending.
	requests, ends *pool
	// connections are those of all listeners.
	connections *pool
	// bodyTimeout is how long a body may take to arrive.
	bodyTimeout time.Duration
}

// New returns a server and registers its metrics.
func New(c Config) *Server {
	s := &Server{
		Config:   c,
		guard:    newGuard(c),
		measurer: newMeasurer(c.Measure),
		metrics:  newMetrics(c.Version, c.Engine, c.Control.Read, c.Log),

		requests:    newPool(maxRequests),
		ends:        newPool(maxEnds),
		connections: newPool(maxConnections),
		bodyTimeout: readTimeout,
	}
	c.Registry.MustRegister(s.metrics)
	return s
}

// Handler returns the routes. Errors are problem documents (RFC 9457), also
// for routes and methods that don't exist.
func (s *Server) Handler() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.RedirectTrailingSlash = false // "/latency/" is an empty delay, not a read
	r.UseRawPath = true             // "20ms%2F" is a bad delay, not another route
	r.UnescapePathValues = true
	r.Use(name, s.record, closeUnlessRead, gin.CustomRecoveryWithWriter(nil, s.recovered))

	get(r, api.PathHealthz, func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	get(r, api.PathReadyz, s.getReadyz)

	guarded := r.Group("", s.admit)
	get(guarded, api.PathMetrics, gin.WrapH(promhttp.HandlerFor(s.Registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})))
	get(guarded, api.PathOpenAPI, getOpenAPI)
	get(guarded, api.PathStatus, s.getStatus)
	get(guarded, api.PathLatency, s.getLatency)
	get(guarded, api.PathFaults, s.getFaults)
	get(guarded, api.PathFaults+"/:name", s.getFault)
	guarded.POST(api.PathMeasure, s.readBody, s.postMeasure)

	changing := guarded.Group("", s.mayChange)
	get(changing, api.PathLatency+"/", s.setLatency)
	get(changing, api.PathLatency+"/:delay", s.setLatency)
	changing.DELETE(api.PathLatency, s.clearLatency)
	changing.PUT(api.PathFaults, s.readBody, s.putFaults)
	changing.DELETE(api.PathFaults, s.deleteFaults)
	changing.PUT(api.PathFaults+"/:name", s.readBody, s.putFault)
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

// name says in every answer that it is the agent's.
func name(c *gin.Context) { c.Header("Server", api.ServerName) }

// get serves GET and HEAD. The server leaves out the body of an answer to HEAD.
func get(routes gin.IRoutes, path string, handler gin.HandlerFunc) {
	routes.GET(path, handler)
	routes.HEAD(path, handler)
}

// deviceNames returns the interfaces that faults act on, by name.
func (s *Server) deviceNames() []string {
	devices, _ := s.Devices() // whoever can do nothing without any is told by the engine
	return api.DeviceNames(devices)
}

// limits is what flags and clock say about the faults of a request.
func (s *Server) limits() fault.Limits {
	return fault.Limits{Now: s.Control.Now(), MaxDuration: s.MaxDuration, Devices: s.deviceNames()}
}
