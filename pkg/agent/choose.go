package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/netem"
	"github.com/tidelay/tidelay/pkg/agent/nfqueue"
	"github.com/tidelay/tidelay/pkg/fault"
)

// engine is what runs for the life of an agent.
type engine interface {
	control.Engine
	// Run does what the engine must do while packets flow. It blocks until ctx
	// ends.
	Run(ctx context.Context) error
	// Close ends an engine on which Run was never called.
	Close() error
}

// candidate is an engine that might run here.
type candidate struct {
	name string
	// probe tries the engine on a scratch link and returns what it lacks.
	probe func() (map[fault.Feature]string, error)
	open  func(lacks map[fault.Feature]string) (engine, error)
}

// candidates lists the engines, the preferred one first.
func candidates(scope fault.Scope, queueMemory uint64, log *slog.Logger) []candidate {
	return []candidate{
		{
			name:  api.EngineNetem,
			probe: func() (map[fault.Feature]string, error) { return netem.Probe(log) },
			open: func(lacks map[fault.Feature]string) (engine, error) {
				return netem.New(scope, queueMemory, lacks, log), nil
			},
		},
		{
			name:  api.EngineNFQueue,
			probe: func() (map[fault.Feature]string, error) { return nfqueue.Lacks(), nfqueue.Probe() },
			open: func(map[fault.Feature]string) (engine, error) {
				return nfqueue.Open(scope, queueMemory, log)
			},
		},
	}
}

// choice is the engine that runs, and why.
type choice struct {
	engine engine
	// name is api.EngineNone when no engine runs; reason then says why not.
	name, reason string
	capabilities map[string]api.Capability
}

// none is the choice where no engine runs, for a reason.
func none(reason string, capabilities map[string]api.Capability) choice {
	return choice{engine: noEngine{reason: reason}, name: api.EngineNone, reason: reason, capabilities: capabilities}
}

// choose probes every candidate and opens the wanted one, or with api.EngineAuto
// the first that works. It removes the faults that an agent with another engine
// left in the kernel, so that no packet meets both. If no engine works, the
// choice is noEngine with the reason, and the agent stays up to say so.
func choose(want string, all []candidate) choice {
	c := choice{name: api.EngineNone, capabilities: map[string]api.Capability{}}
	var reasons []string
	var others []candidate
	for _, candidate := range all {
		lacks, err := candidate.probe()
		if err != nil {
			c.capabilities[candidate.name] = api.Capability{Reason: err.Error()}
			if want == api.EngineAuto || want == candidate.name {
				reasons = append(reasons, fmt.Sprintf("%s: %v", candidate.name, err))
			}
			others = append(others, candidate)
			continue
		}
		c.capabilities[candidate.name] = api.Capability{Available: true, Lacks: wireLacks(lacks)}
		if c.name != api.EngineNone || (want != api.EngineAuto && want != candidate.name) {
			others = append(others, candidate)
			continue
		}
		opened, err := candidate.open(lacks)
		if err != nil {
			reasons = append(reasons, fmt.Sprintf("%s: %v", candidate.name, err))
			continue
		}
		c.engine, c.name = opened, candidate.name
	}
	left := clearOthers(others, c.capabilities)
	switch {
	case c.name == api.EngineNone:
		c.reason = "no engine works here: " + strings.Join(reasons, "; ")
		c.engine = noEngine{reason: c.reason}
	case want != api.EngineAuto:
		c.reason = "asked for by --engine=" + want
	case len(reasons) == 0:
		c.reason = "tried on a scratch link and works"
	default:
		c.reason = strings.Join(reasons, "; ")
	}
	if left != nil {
		c.reason += "; " + left.Error()
	}
	return c
}

// chooseInPod is choose with all engines, for a pod that has a network of its own. In the
// node's network nothing is tried, and no engine runs; nor while it can't be told.
func chooseInPod(nodeAddrs []netip.Addr, addresses func() ([]netip.Addr, error), choose func() choice) choice {
	own, err := addresses()
	if err != nil && len(nodeAddrs) > 0 {
		return none("not known whether the pod is on its node's network: "+err.Error(), map[string]api.Capability{})
	}
	i := slices.IndexFunc(nodeAddrs, func(node netip.Addr) bool { return slices.Contains(own, node) })
	if i < 0 {
		return choose()
	}
	reason := fmt.Sprintf("the pod is on its node's network, of which %s is an address: a fault would hit the node and every pod that shares its network", nodeAddrs[i])
	return none(reason, map[string]api.Capability{})
}

func wireLacks(lacks map[fault.Feature]string) map[string]string {
	wire := make(map[string]string, len(lacks))
	for feature, reason := range lacks {
		wire[string(feature)] = reason
	}
	return wire
}

// clearOthers removes the faults that agents with other engines left in the
// kernel. It tries engines that don't work here too: one may have worked when an
// earlier agent ran, and to remove faults needs less than to set them. That such
// an engine can't be opened is no error.
func clearOthers(others []candidate, capabilities map[string]api.Capability) error {
	var errs []error
	for _, other := range others {
		opened, err := other.open(nil)
		if err != nil && !capabilities[other.name].Available {
			continue
		}
		if err == nil {
			err = errors.Join(opened.Apply(nil), opened.Close())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("clear what engine %s left: %w", other.name, err))
		}
	}
	return errors.Join(errs...)
}

// noEngine is the engine where none works. It fails with the reason.
type noEngine struct{ reason string }

func (n noEngine) err() error { return fmt.Errorf("%w: %s", control.ErrNoEngine, n.reason) }

func (noEngine) Run(ctx context.Context) error              { <-ctx.Done(); return nil }
func (noEngine) Lacks() map[fault.Feature]string            { return nil }
func (n noEngine) Apply([]fault.Fault) error                { return n.err() }
func (n noEngine) Reapply([]fault.Fault) error              { return n.err() }
func (noEngine) SetScope(fault.Scope)                       {}
func (n noEngine) State([]fault.Fault) (fault.State, error) { return fault.State{}, n.err() }
func (noEngine) Warnings([]fault.Fault) []string            { return nil }
func (n noEngine) Adopt() ([]fault.Fault, error)            { return nil, n.err() }
func (noEngine) Close() error                               { return nil }
