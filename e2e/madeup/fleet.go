package madeup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Fleet is agents by their addresses.
type Fleet struct {
	server *http.Server
	mu     sync.Mutex
	agents map[netip.Addr]*Agent
	// holds are the faults of each agent when they changed last, by its address.
	holds map[netip.Addr][]fault.Fault
}

// NewFleet returns a Fleet without agents.
func NewFleet() *Fleet {
	f := &Fleet{agents: map[netip.Addr]*Agent{}, holds: map[netip.Addr][]fault.Fault{}}
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	return f
}

// Add returns a new agent at an address, in the pod with a UID. It takes the place of one
// that had the address. Nobody listens there before Listen or ListenEverywhere.
func (f *Fleet) Add(addr netip.Addr, podUID string) *Agent {
	a := &Agent{fleet: f, addr: addr, podUID: podUID}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.agents[addr] = a
	return a
}

// ListenEverywhere has all agents listen, with one socket for all addresses. None of them
// can refuse connections then, and Listen can't be used.
func (f *Fleet) ListenEverywhere() error {
	_, err := f.listen(netip.IPv4Unspecified())
	return err
}

// listen serves connections to an address until the listener is closed.
func (f *Fleet) listen(addr netip.Addr) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp4", netip.AddrPortFrom(addr, api.Port).String())
	if err != nil {
		return nil, fmt.Errorf("listen as agent: %w", err)
	}
	go func() { _ = f.server.Serve(listener) }()
	return listener, nil
}

// Close ends all that listens and every connection.
func (f *Fleet) Close() error { return f.server.Close() }

// ServeHTTP has the agent answer whose address the connection was made to.
func (f *Fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := f.at(r)
	if a == nil {
		panic(http.ErrAbortHandler) // closes the connection
	}
	a.ServeHTTP(w, r)
}

func (f *Fleet) at(r *http.Request) *Agent {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.agents[local.AddrPort().Addr().Unmap()]
}

// errNotListening is what Vanish returns for an agent that has vanished.
var errNotListening = errors.New("the agent does not listen")

// Listen has the agent listen at its address.
func (a *Agent) Listen() error {
	listener, err := a.fleet.listen(a.addr)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listener = listener
	return nil
}

// Vanish has the agent listen no more, so that connections are refused. It keeps its
// faults, as its pod's kernel does.
func (a *Agent) Vanish() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listener == nil {
		return errNotListening
	}
	err := a.listener.Close()
	a.listener = nil
	return err
}
