package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

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
	lock, err := acquireLock(ctx, lockName, o.Listen)
	if err != nil {
		return err
	}
	defer lock.release()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	pod := newPod(o, p, log)
	chosen := choose(o.Engine, candidates(pod.scope(), p.queueMemory, log))
	faults := control.New(inPod{chosen.engine, pod}, o.StateDir, log)
	server := httpapi.New(httpapi.Config{
		Control:      faults,
		TC:           tc{pod: pod, queueMemory: p.queueMemory},
		Measure:      measure.Run,
		DeviceTo:     rtnl.DeviceTo,
		Engine:       chosen.name,
		EngineReason: chosen.reason,
		Capabilities: chosen.capabilities,
		Devices:      pod.devices,
		Exempt:       func() fault.Exemption { return pod.scope().Exempt },
		Version:      o.Version,
		MaxDuration:  o.MaxDuration,
		TokenFile:    o.TokenFile,
		ReadOnly:     o.ReadOnly,
		Registry:     prometheus.NewRegistry(),
		Log:          log,
	})
	if err := faults.Restore(o.MaxDuration); err != nil && !errors.Is(err, control.ErrNoEngine) {
		log.Error("restore the state of an earlier agent", "err", err)
	}
	log.Info("agent started", "version", o.Version, "listen", listener.Addr().String(), "device", o.Device,
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
		group.Go(func() error { return pod.follow(ctx, faults) })
	}
	group.Go(func() error { return lock.run(ctx) })
	group.Go(func() error { return server.Serve(ctx, listener) })
	return group.Wait()
}

// tc writes faults as tc(8) commands. Its answers are the same for both engines:
// they say what one would type where the engine is netem.
type tc struct {
	pod         *pod
	queueMemory uint64
}

func (tc) Equivalent(device string, f fault.Fault) string { return netem.Equivalent(device, f) }

func (t tc) Commands(faults []fault.Fault) []string {
	scope := t.pod.scope()
	return netem.Commands(scope.Devices, scope.Exempt, t.queueMemory, faults)
}
