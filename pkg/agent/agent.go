package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/agent/netem"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Run validates the options, waits until no other agent runs in the pod's network
// namespace, restores the stored faults and serves until ctx ends. The faults stay
// in the kernel when the agent ends, and the next agent finds them.
//
// Only bad options and the end of ctx end it. Whatever else fails is logged, named
// in the status, and tried again: the port that another process has, an engine that
// does not work or stops, a socket that breaks. See tasks.
func Run(ctx context.Context, o Options, log *slog.Logger) error {
	p, err := o.parse()
	if err != nil {
		return err
	}
	for _, warning := range p.warnings {
		log.Warn("environment not valid", "problem", warning)
	}
	tasks := newTasks(log)
	lock := waitForLock(ctx, tasks, lockName, o.Listen)
	if lock == nil {
		return nil
	}
	defer lock.release()
	pod := newPod(o, p, log)
	engine := newRunning(pod.scope(), tasks, func(scope fault.Scope) choice {
		return chooseInPod(p.nodeAddrs, rtnl.Addresses, func() choice {
			return choose(o.Engine, candidates(scope, p.queueMemory, log))
		})
	})
	faults := control.New(inPod{engine, pod}, o.StateDir, o.MaxDuration, log)
	server := httpapi.New(httpapi.Config{
		Control:     faults,
		TC:          tc{pod: pod, queueMemory: p.queueMemory},
		Measure:     measure.Run,
		DeviceTo:    rtnl.DeviceTo,
		Engine:      engine.describe,
		Devices:     pod.devices,
		Exempt:      func() fault.Exemption { return pod.scope().Exempt },
		Warnings:    func() []string { return append(tasks.failures(), p.warnings...) },
		Version:     o.Version,
		PodUID:      p.podUID,
		MaxDuration: o.MaxDuration,
		TokenFile:   o.TokenFile,
		ReadOnly:    o.ReadOnly,
		Registry:    prometheus.NewRegistry(),
		Log:         log,
	})
	log.Info("agent started", "version", o.Version, "listen", o.Listen, "device", o.Device)

	var all sync.WaitGroup
	keep := func(name string, longest time.Duration, run func(ctx context.Context, works func()) error) {
		all.Go(func() { tasks.keep(ctx, name, longest, run) })
	}
	all.Go(func() { lock.run(ctx) })
	keep("run an engine", longestEngineWait, func(ctx context.Context, works func()) error {
		return engine.run(ctx, faults.Restore, works)
	})
	<-engine.tried // so that the first request finds an engine, and the faults of an earlier agent
	keep("end faults", longestWait, func(ctx context.Context, _ func()) error { return faults.Run(ctx) })
	keep("follow the pod's interfaces", longestFollowWait, func(ctx context.Context, works func()) error {
		return pod.follow(ctx, faults, works)
	})
	for _, a := range listenAddresses(o.Listen) {
		keep("serve on "+a.String(), longestWait, func(ctx context.Context, works func()) error {
			return serve(ctx, a, server, works)
		})
	}
	all.Wait()
	return nil
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
