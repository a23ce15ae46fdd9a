//go:build apiserver

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// network stands in for kube-proxy. The API server's egress selector asks it,
// by HTTP CONNECT, for a connection to the cluster IP of a Service, and it
// dials one of the endpoints behind that, round robin. It reaches the agents of pods too,
// for the API server's pod proxy; see podAddress.
type network struct {
	path   string // the Unix socket it listens on
	server http.Server

	mu        sync.Mutex
	service   string   // cluster IP and port it knows
	endpoints []string // host:port of each replica
	dialed    int
	conns     map[net.Conn]struct{}
}

func newNetwork(path string) (*network, error) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for the API server: %w", err)
	}
	n := &network{path: path, conns: map[net.Conn]struct{}{}}
	n.server = http.Server{Handler: http.HandlerFunc(n.connect), ReadHeaderTimeout: time.Minute}
	go func() { _ = n.server.Serve(listener) }()
	return n, nil
}

// route puts the replicas behind the service ("ip:port"). What is open stays,
// as it does with kube-proxy.
func (n *network) route(service string, replicas ...*replica) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.service, n.endpoints = service, nil
	for _, r := range replicas {
		n.endpoints = append(n.endpoints, r.webhook)
	}
}

// cut closes what is open, so that the next call goes by the route of now.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for conn := range n.conns {
		_ = conn.Close()
	}
}

func (n *network) connect(w http.ResponseWriter, r *http.Request) {
	backend, err := n.dial(r.Context(), r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = backend.Close()
		return
	}
	n.join(client, backend)
}

// dial connects to the next endpoint of the service at address.
func (n *network) dial(ctx context.Context, address string) (net.Conn, error) {
	var dialer net.Dialer
	if agent, isPod := agentOf(address); isPod {
		return dialer.DialContext(ctx, "tcp", agent)
	}
	n.mu.Lock()
	if address != n.service {
		n.mu.Unlock()
		return nil, fmt.Errorf("no service at %s", address)
	}
	if len(n.endpoints) == 0 {
		n.mu.Unlock()
		return nil, errors.New("the service has no endpoints")
	}
	endpoint := n.endpoints[n.dialed%len(n.endpoints)]
	n.dialed++
	n.mu.Unlock()
	return dialer.DialContext(ctx, "tcp", endpoint)
}

// podAddress is the address of a pod at which the API server's proxy finds the agent that
// listens at an address of loopback, which it does not proxy to.
func podAddress(agent netip.Addr) netip.Addr {
	b := agent.As4()
	return netip.AddrFrom4([4]byte{10, b[1], b[2], b[3]})
}

// agentOf returns where an agent listens that is asked for at its pod's address.
func agentOf(address string) (string, bool) {
	pod, err := netip.ParseAddrPort(address)
	if err != nil || pod.Port() != agentPort || !pod.Addr().Is4() {
		return "", false
	}
	b := pod.Addr().As4()
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, b[1], b[2], b[3]}), agentPort).String(), b[0] == 10
}

// join copies both ways until either side closes.
func (n *network) join(client, backend net.Conn) {
	n.mu.Lock()
	n.conns[client] = struct{}{}
	n.mu.Unlock()
	done := func() {
		_, _ = client.Close(), backend.Close()
		n.mu.Lock()
		delete(n.conns, client)
		n.mu.Unlock()
	}
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		done()
		return
	}
	go func() {
		_, _ = io.Copy(backend, client)
		done()
	}()
	_, _ = io.Copy(client, backend)
	done()
}

func (n *network) Close() error {
	return n.server.Close()
}
