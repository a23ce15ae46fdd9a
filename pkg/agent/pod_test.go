package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
)

// networks are what a follower reads, one after the other.
type networks struct {
	next []network
}

type network struct {
	devices string
	err     error
}

func (n *networks) Read() (rtnl.Network, error) {
	now := n.next[0]
	n.next = n.next[1:]
	if now.err != nil {
		return rtnl.Network{}, now.err
	}
	return rtnl.Network{Devices: []api.Device{{Name: now.devices}}}, nil
}

// Run reports a change for each network that is left.
func (n *networks) Run(_ context.Context, changed func(links bool) error) error {
	for len(n.next) > 0 {
		if err := changed(true); err != nil {
			return err
		}
	}
	return nil
}

// While the kernel can't be asked, faults act where they did, and it is asked again. If
// there is nothing to act on, that counts.
func TestANetworkThatCannotBeRead(t *testing.T) {
	unread := fmt.Errorf("list interfaces: %w: too many open files", rtnl.ErrNotRead)
	nothing := errors.New("no default route")
	e := enginetest.New(enginetest.Kernel{})
	follower := &networks{next: []network{{devices: "eth0"}, {devices: "eth0"}, {err: unread}, {devices: "net1"}, {err: nothing}}}
	p := newPodOf(follower, Options{}, parsed{}, slog.New(slog.DiscardHandler))
	c := control.New(e, "", 0, slog.New(slog.DiscardHandler))
	if _, err := c.Change(delay()); err != nil {
		t.Fatal(err)
	}
	works := 0
	if err := p.follow(t.Context(), c, func() { works++ }); !errors.Is(err, rtnl.ErrNotRead) || works != 1 {
		t.Errorf("follow: %v, it worked %d times", err, works)
	}
	if devices, err := p.devices(); err != nil || len(devices) != 1 || devices[0].Name != "eth0" || e.Get().Scope.Devices[0] != "eth0" {
		t.Errorf("faults act on %+v, %v; the engine's scope is %+v", devices, err, e.Get().Scope)
	}
	if err := p.follow(t.Context(), c, func() { works++ }); err != nil || works != 3 {
		t.Errorf("follow again: %v, it worked %d times", err, works)
	}
	if devices, err := p.devices(); !errors.Is(err, nothing) || len(devices) != 0 || len(e.Get().Scope.Devices) != 0 {
		t.Errorf("with nothing to act on, faults act on %+v, %v; the engine's scope is %+v", devices, err, e.Get().Scope)
	}
}
