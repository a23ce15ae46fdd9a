package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/agent/netem"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Run validates the options, makes sure that no other agent runs in the pod's
// network namespace, restores the stored faults and serves until ctx
// ends. The faults stay in the kernel when the agent ends, and the next agent
// finds them. A pod in which no engine works still gets an agent that says why.
func Run(ctx context.Context, o Options, log *slog.Logger) error {
	p, err := o.parse()
	if err != nil {
		return err
	}
	pod, err := acquireLock(ctx, lockName, o.Listen)
	if err != nil {
		return err
	}
	defer pod.release()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	exempt := exemption(p, log)
	devices, chosen := findEngine(o, exempt, p.queueMemory, log)
	names := api.DeviceNames(devices)
	faults := control.New(chosen.engine, o.StateDir, log)
	server := httpapi.New(httpapi.Config{
		Control:      faults,
		TC:           tc{devices: names, exempt: exempt, queueMemory: p.queueMemory},
		Measure:      measure.Run,
		DeviceTo:     rtnl.DeviceTo,
		Engine:       chosen.name,
		EngineReason: chosen.reason,
		Capabilities: chosen.capabilities,
		Devices:      devices,
		Exempt:       exempt,
		Version:      o.Version,
		MaxDuration:  o.MaxDuration,
		TokenFile:    o.TokenFile,
		ReadOnly:     o.ReadOnly,
		Registry:     prometheus.NewRegistry(),
		Log:          log,
	})
	if err := faults.Restore(o.MaxDuration, names); err != nil && !errors.Is(err, control.ErrNoEngine) {
		log.Error("restore the state of an earlier agent", "err", err)
	}
	log.Info("agent started", "version", o.Version, "listen", listener.Addr().String(), "devices", strings.Join(names, ","),
		"engine", chosen.name, "reason", chosen.reason)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := chosen.engine.Run(ctx); err != nil {
			return fmt.Errorf("run engine %s: %w", chosen.name, err)
		}
		return nil
	})
	if chosen.name != api.EngineNone { // it would fail to end faults, again and again
		group.Go(func() error { return faults.Run(ctx) })
	}
	group.Go(func() error { return pod.run(ctx) })
	group.Go(func() error { return server.Serve(ctx, listener) })
	return group.Wait()
}

// findEngine finds the devices and chooses the engine that acts on them. Without
// devices there is no engine.
func findEngine(o Options, exempt fault.Exemption, queueMemory uint64, log *slog.Logger) ([]api.Device, choice) {
	devices, err := rtnl.FindDevices(o.Device)
	if err != nil {
		reason := fmt.Sprintf("find the interface for faults (--device=%q): %v", o.Device, err)
		return nil, choice{engine: noEngine{reason: reason}, name: api.EngineNone, reason: reason}
	}
	return devices, choose(o.Engine, candidates(devices, exempt, queueMemory, log))
}

// tc writes faults as tc(8) commands. Its answers are the same for both engines:
// they say what one would type where the engine is netem.
type tc struct {
	devices     []string
	exempt      fault.Exemption
	queueMemory uint64
}

func (tc) Equivalent(device string, f fault.Fault) string { return netem.Equivalent(device, f) }

func (t tc) Commands(faults []fault.Fault) []string {
	return netem.Commands(t.devices, t.exempt, t.queueMemory, faults)
}
