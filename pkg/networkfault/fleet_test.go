package networkfault

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/keeper"
)

// fleet is made-up agents, by their addresses.
type fleet struct {
	mu     sync.Mutex
	agents map[netip.Addr]*madeUp
}

// madeUp is an agent that holds faults until they end.
type madeUp struct {
	uid  string
	held []heldFault
	way  way
}

type heldFault struct {
	api.Fault
	until time.Time
}

// way is how an agent behaves.
type way int

const (
	obeys   way = iota
	refuses     // with 422
	hangs       // after it has done what it was asked for
	dies        // refuses connections
)

// add adds an agent.
func (f *fleet) add(addr netip.Addr, uid string) { f.agents[addr] = &madeUp{uid: uid} }

// Replace implements keeper.Agents.
func (f *fleet) Replace(ctx context.Context, t keeper.Target, faults []api.Fault) (api.Changes, error) {
	f.mu.Lock()
	a := f.agents[t.Addr]
	if a == nil || a.way == dies {
		f.mu.Unlock()
		return api.Changes{}, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	if a.uid != string(t.UID) {
		f.mu.Unlock()
		return api.Changes{}, &client.Error{Problem: api.Problem{Type: "x", Status: 421, Detail: "another pod"}}
	}
	if a.way == refuses && len(faults) > 0 {
		f.mu.Unlock()
		return api.Changes{}, &client.Error{Problem: api.Problem{Type: "x", Status: 422, Detail: "this kernel can't"}}
	}
	answer, isHanging := a.replace(faults), a.way == hangs
	f.mu.Unlock()
	if isHanging {
		<-ctx.Done()
		return api.Changes{}, ctx.Err()
	}
	return answer, nil
}

// replace has the agent hold faults, and returns its answer.
func (a *madeUp) replace(faults []api.Fault) api.Changes {
	before := a.holds()
	a.held = nil
	var answer api.Changes
	for _, f := range faults {
		life, err := fault.ParseDuration(f.Duration)
		if err != nil {
			panic(err)
		}
		a.held = append(a.held, heldFault{f, time.Now().Add(life)})
		action := api.ActionAdd
		if slices.ContainsFunc(before, func(g api.Fault) bool { return g.Name == f.Name }) {
			action = api.ActionKeep
		}
		answer.Changes = append(answer.Changes, api.Change{Name: f.Name, Action: action})
		answer.Faults = append(answer.Faults, f)
	}
	return answer
}

// holds returns the faults that have not ended.
func (a *madeUp) holds() []api.Fault {
	var all []api.Fault
	for _, h := range a.held {
		if h.until.After(time.Now()) {
			all = append(all, h.Fault)
		}
	}
	return all
}

// errUnwell is of an API server that writes nothing.
var errUnwell = errors.New("etcd is unwell")

// onPacket is what an agent does to packets for a peer.
type onPacket struct {
	delay     time.Duration
	partition bool
}

// onPacketTo returns what the agent does to packets for an address. That two faults match
// the same packet is an error: a compilation makes them so that none do.
func (a *madeUp) onPacketTo(peer netip.Addr) (onPacket, error) {
	var found []fault.Fault
	for _, f := range a.holds() {
		f.Duration = ""
		parsed, err := fault.Parse(f, fault.Limits{Stored: true})
		if err != nil {
			return onPacket{}, err
		}
		if slices.ContainsFunc(parsed.Match.Peers, func(p netip.Prefix) bool { return p.Contains(peer) }) && parsed.Match.Direction.Has(fault.Egress) {
			found = append(found, parsed)
		}
	}
	switch len(found) {
	case 0:
		return onPacket{}, nil
	case 1:
		return onPacket{found[0].Impairment.Delay, found[0].Impairment.Partition}, nil
	default:
		return onPacket{}, errors.New("two faults for one packet")
	}
}
