package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Bounds of the HTTP server. The slowest answer but a measurement's is that of
// a clear, which waits up to a second for packets to leave, behind others that
// do the same.
const (
	readTimeout     = 5 * time.Second
	writeTimeout    = time.Minute
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 3 * time.Second
	maxHeaderBytes  = 16 << 10
)

// Run validates the options, brings the kernel to the stored state and serves
// until ctx ends. The fault stays when the agent ends, for the next one to
// find. A pod in which no engine works still gets an agent that says why.
func Run(ctx context.Context, o Options, log *slog.Logger) error {
	p, err := o.parse()
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s, registry := newServer(o, p, log)
	if err := s.control.restore(o.MaxDuration, deviceNames(s.devices)); err != nil && !errors.Is(err, errNoEngine) {
		log.Error("restore the state of an earlier agent", "err", err)
	}
	log.Info("agent started", "version", o.Version, "listen", listener.Addr().String(), "devices", strings.Join(deviceNames(s.devices), ","),
		"engine", s.choice.name, "reason", s.choice.reason)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := s.choice.engine.Run(ctx); err != nil {
			return fmt.Errorf("run engine %s: %w", s.choice.name, err)
		}
		return nil
	})
	if s.choice.name != api.EngineNone { // else nothing could be ended, again and again
		group.Go(func() error { return s.control.run(ctx) })
	}
	group.Go(func() error { return serve(ctx, listener, s.handler(registry)) })
	return group.Wait()
}

// newServer finds the devices, chooses the engine and wires the parts.
func newServer(o Options, p parsed, log *slog.Logger) (*server, *prometheus.Registry) {
	exempt := fault.Exemption{ControlPort: p.controlPort}
	if len(p.nodeAddrs) > 0 && len(p.probePorts) > 0 {
		exempt.NodeAddrs, exempt.ProbePorts = probeSources(p, log), p.probePorts
	}
	s := &server{
		exempt:      exempt,
		queueMemory: p.queueMemory,
		maxDuration: o.MaxDuration,
		version:     o.Version,
		guard:       newGuard(o.TokenFile, o.ReadOnly),
		measurer:    newMeasurer(),
		log:         log,
	}
	devices, err := rtnl.FindDevices(o.Device)
	if err != nil {
		reason := fmt.Sprintf("find the interface for faults (--device=%q): %v", o.Device, err)
		s.choice = choice{engine: noEngine{reason: reason}, name: api.EngineNone, reason: reason}
	} else {
		s.devices = devices
		s.choice = choose(o.Engine, candidates(devices, exempt, p.queueMemory, log))
	}
	s.control = newControl(s.choice.engine, store{dir: o.StateDir}, log)
	s.metrics = newMetrics(o.Version, s.choice.name, s.control.read, log)
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.metrics)
	return s, registry
}

// serve answers requests until ctx ends, and then those that are under way.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		stopped <- server.Shutdown(timeout)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serve: %w", err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("stop serving: %w", err)
	}
	return nil
}
