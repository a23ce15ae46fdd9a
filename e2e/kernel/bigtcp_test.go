//go:build kernel

package kernel

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// With BIG TCP, segments of IPv6 are longer than 64 KiB and have a hop-by-hop
// header before that of TCP. All of them meet a fault that names the protocol or a
// port, and none meets one that names another.
func TestBigTCPMeetsItsFault(t *testing.T) {
	a := freshAgent(t)
	l := a.lab
	l.pod.Exec(t, "ip link set eth0 gso_max_size 180000")
	defer l.pod.Exec(t, "ip link set eth0 gso_max_size 65536")
	if shown := l.pod.Exec(t, "ip -d link show eth0"); !strings.Contains(shown, "gso_max_size 180000") {
		t.Fatalf("this kernel has no BIG TCP: %s", shown)
	}
	l.node.Listen(t, ":5001", func(conn net.Conn) {
		_, _ = io.Copy(io.Discard, conn)
		_, _ = conn.Write([]byte("all")) // everything has arrived
	})
	const size = 32 << 20
	for what, match := range map[string]api.Fault{
		"the port":     {Ports: &api.Ports{Remote: []api.PortRange{{First: 5001, Last: 5001}}}},
		"the protocol": {Protocol: "tcp"},
		"all of it":    {Protocol: "tcp", Peers: []string{l.node.IP6}, Ports: &api.Ports{Remote: []api.PortRange{{First: 5000, Last: 5003}}}},
	} {
		match.Name, match.Delay = "match", "5ms"
		other := api.Fault{Name: "other", Delay: "1ms", Ports: &api.Ports{Remote: []api.PortRange{{First: 6001, Last: 6001}}}, Peers: []string{l.node.IP6}}
		a.apply() // counters start anew
		a.apply(match, other)
		sendAll(t, l.pod, net.JoinHostPort(l.node.IP6, "5001"), size)
		if got := a.fault("match").Counters; got.Bytes < size {
			t.Errorf("%s: %d bytes of %d met the fault", what, got.Bytes, size)
		}
		if got := a.fault("other").Counters; got.Bytes > 0 {
			t.Errorf("%s: %d bytes met a fault of another port", what, got.Bytes)
		}
	}
}

// sendAll sends bytes over TCP and returns when the other side has all of them.
func sendAll(t *testing.T, from *netlab.Host, to string, size int) {
	t.Helper()
	conn, err := from.Dial(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	chunk := make([]byte, 1<<20)
	for sent := 0; sent < size; sent += len(chunk) {
		if _, err := conn.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || string(answer) != "all" {
		t.Fatalf("sent %d bytes: %q, %v", size, answer, err)
	}
}
