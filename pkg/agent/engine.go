package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/fault"
	"github.com/tidelay/tidelay/pkg/agent/netem"
	"github.com/tidelay/tidelay/pkg/agent/nfqueue"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
)

// engine turns a fault into kernel state. Set and Clear return only after the
// kernel was read back. All but Run are called one at a time.
type engine interface {
	// Run does what the engine must do while packets flow; it blocks until ctx
	// ends.
	Run(ctx context.Context) error
	Set(f fault.Fault) error
	Clear() error
	State() (fault.State, error)
	// Close ends an engine that Run was never called on.
	Close() error
}

// candidate is an engine that might run here.
type candidate struct {
	name  string
	probe func() error
	open  func() (engine, error)
}

// candidates lists the engines, the better first.
func candidates(device rtnl.Device, exempt fault.Exemption, log *slog.Logger) []candidate {
	return []candidate{
		{
			name:  EngineNetem,
			probe: func() error { return netem.Probe(log) },
			open:  func() (engine, error) { return netem.New(device, exempt, log), nil },
		},
		{
			name:  EngineNFQueue,
			probe: nfqueue.Probe,
			open:  func() (engine, error) { return nfqueue.Open(device.Name, exempt, log) },
		},
	}
}

// choice is the engine that runs, and why.
type choice struct {
	engine engine
	// name is engineNone when no engine runs; reason then says why not.
	name, reason string
	capabilities map[string]api.Capability
}

// choose probes every candidate and opens the wanted one, or with EngineAuto
// the first that works. What an agent with another engine left behind is
// cleared, so that a packet never meets both. That no engine works is a
// choice, not an error: the agent stays up to say so.
func choose(want string, all []candidate) choice {
	c := choice{engine: noEngine{}, name: engineNone, capabilities: map[string]api.Capability{}}
	var reasons []string
	var others []candidate
	for _, candidate := range all {
		if err := candidate.probe(); err != nil {
			c.capabilities[candidate.name] = api.Capability{Reason: err.Error()}
			if want == EngineAuto || want == candidate.name {
				reasons = append(reasons, fmt.Sprintf("%s: %v", candidate.name, err))
			}
			others = append(others, candidate)
			continue
		}
		c.capabilities[candidate.name] = api.Capability{Available: true}
		if c.name != engineNone || (want != EngineAuto && want != candidate.name) {
			others = append(others, candidate)
			continue
		}
		opened, err := candidate.open()
		if err != nil {
			reasons = append(reasons, fmt.Sprintf("%s: %v", candidate.name, err))
			continue
		}
		c.engine, c.name = opened, candidate.name
	}
	left := clearOthers(others, c.capabilities)
	switch {
	case c.name == engineNone:
		c.reason = "no engine works here: " + strings.Join(reasons, "; ")
		c.engine = noEngine{reason: c.reason}
	case want != EngineAuto:
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

// clearOthers ends what an agent with another engine left in the kernel. An
// engine that does not work here any more may have left something too, and its
// clear needs less than its set; that it can't even be opened is no news then.
func clearOthers(others []candidate, capabilities map[string]api.Capability) error {
	var errs []error
	for _, other := range others {
		opened, err := other.open()
		if err != nil && !capabilities[other.name].Available {
			continue
		}
		if err == nil {
			err = errors.Join(opened.Clear(), opened.Close())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("clear what engine %s left: %w", other.name, err))
		}
	}
	return errors.Join(errs...)
}

// errNoEngine reports that nothing here can apply a fault.
var errNoEngine = errors.New("no engine")

// noEngine holds nothing and can set nothing.
type noEngine struct{ reason string }

func (noEngine) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (n noEngine) Set(fault.Fault) error       { return fmt.Errorf("%w: %s", errNoEngine, n.reason) }
func (noEngine) Clear() error                  { return nil }
func (noEngine) State() (fault.State, error)   { return fault.State{}, nil }
func (noEngine) Close() error                  { return nil }
