package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/explain"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
	"github.com/tidelay/tidelay/pkg/fault"
)

// pod is what is known of the pod's network. Its interfaces and routes come and
// go while the agent runs.
type pod struct {
	follower follower
	options  Options
	parsed   parsed
	log      *slog.Logger

	mu      sync.Mutex
	network rtnl.Network
	err     error // why no device could be chosen, nil if some were
}

// follower reads the pod's network again and again. It is an rtnl.Follower.
type follower interface {
	Read() (rtnl.Network, error)
	Run(ctx context.Context, changed func(links bool) error) error
}

// newPod reads the network for the first time.
func newPod(o Options, p parsed, log *slog.Logger) *pod {
	return newPodOf(rtnl.NewFollower(o.Device), o, p, log)
}

func newPodOf(f follower, o Options, p parsed, log *slog.Logger) *pod {
	n := &pod{follower: f, options: o, parsed: p, log: log}
	n.publish(n.read())
	return n
}

// read reads the network, and why no device could be chosen.
func (p *pod) read() (rtnl.Network, error) {
	network, err := p.follower.Read()
	if err != nil {
		err = fmt.Errorf("find the interface for faults (--device=%q): %w", p.options.Device, err)
	}
	return network, err
}

// isKnown reports whether the network is what was published last.
func (p *pod) isKnown(network rtnl.Network, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return reflect.DeepEqual(network, p.network) && (err == nil) == (p.err == nil)
}

// publish makes a network the one that others see, and logs it.
func (p *pod) publish(network rtnl.Network, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.network, p.err = network, err
	if err != nil {
		p.log.Warn("no interface to act on", "err", err)
		return
	}
	p.log.Info("interfaces to act on", "devices", describeDevices(network.Devices), "gateways", fmt.Sprint(network.Gateways))
}

func describeDevices(devices []api.Device) string {
	words := make([]string, 0, len(devices))
	for _, d := range devices {
		word := d.Name
		if d.Missing {
			word += " (missing)"
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// devices returns the interfaces that faults act on, and why there are none.
func (p *pod) devices() ([]api.Device, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.network.Devices), p.err
}

// scope returns where faults act now.
func (p *pod) scope() fault.Scope {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.scopeIn(p.network)
}

// scopeIn returns where faults act in a network.
func (p *pod) scopeIn(n rtnl.Network) fault.Scope {
	return fault.Scope{Devices: api.DeviceNames(n.Devices), Exempt: exemption(p.parsed, n.Gateways)}
}

// follow makes faults act on interfaces that come back, until ctx ends or something
// fails. It calls works when faults act on the interfaces that are there. A network
// is published only then, so that the status does not promise an exemption early.
// Without an engine there is nothing to exempt from, and the next engine starts in the
// scope that was set last. A network that could not be read changes nothing.
func (p *pod) follow(ctx context.Context, faults *control.Control, works func()) error {
	return p.follower.Run(ctx, func(links bool) error {
		network, readErr := p.read()
		if errors.Is(readErr, rtnl.ErrNotRead) {
			return readErr
		}
		known := p.isKnown(network, readErr)
		if !known || links {
			if err := faults.Follow(p.scopeIn(network)); err != nil && !errors.Is(err, control.ErrNoEngine) {
				return err
			}
		}
		if !known {
			p.publish(network, readErr)
		}
		works()
		return nil
	})
}

// inPod is an engine that knows the pod: it refuses faults while no device could
// be chosen, and warns of what no packet of the pod can match.
type inPod struct {
	control.Engine
	pod *pod
}

// Apply refuses faults that there is no place for.
func (n inPod) Apply(faults []fault.Fault) error {
	if _, err := n.pod.devices(); err != nil && len(faults) > 0 {
		return fmt.Errorf("%w: %w", control.ErrNoEngine, err)
	}
	return n.Engine.Apply(faults)
}

// unmet warns of what no packet can match. The pod's addresses are read only if a
// fault has peers.
func (n inPod) unmet(faults []fault.Fault) []string {
	var own []netip.Addr
	if slices.ContainsFunc(faults, func(f fault.Fault) bool { return len(f.Match.Peers) > 0 }) {
		var err error
		if own, err = rtnl.Addresses(); err != nil {
			return []string{fmt.Sprintf("peers are not compared with the pod's own addresses: %v", err)}
		}
	}
	return explain.Unmet(faults, own, n.pod.scope().Exempt)
}

// Warnings warns of what no packet can match, and of what the engine can't do.
func (n inPod) Warnings(faults []fault.Fault) []string {
	return append(n.unmet(faults), n.Engine.Warnings(faults)...)
}
