//go:build kernel

package kernel

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// prompt is below the 2 s that the tests of this file delay by, and far above
// what a lab on a busy machine needs.
const prompt = 1500 * time.Millisecond

func TestControlPortIsNeverDelayed(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	a.set("2s")
	if p := l.node.Ping(t, l.pod.IP, 1, time.Second); p.Received != 1 || p.Median() < 2*time.Second {
		t.Fatalf("ping under 2s of delay: %+v", p)
	}
	for _, from := range []*netlab.Host{l.node, l.bystander} {
		for _, to := range []string{l.pod.IP, l.pod.IP6} {
			if got := from.ConnectTime(t, net.JoinHostPort(to, "2332")); got > prompt {
				t.Errorf("connecting to the control port at %s took %s", to, got)
			}
		}
	}
	start := time.Now()
	a.latency(api.PathLatency)
	if took := time.Since(start); took > prompt {
		t.Errorf("a read under 2s of delay took %s", took)
	}
	// The other way: the pod as the client of another pod's agent.
	l.bystander.Listen(t, fmt.Sprint(":", api.Port), netlab.Discard)
	if got := l.pod.ConnectTime(t, net.JoinHostPort(l.bystander.IP, "2332")); got > prompt {
		t.Errorf("connecting from the pod to another agent took %s", got)
	}
	start = time.Now()
	a.clear()
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("a clear of 2s took %s", took)
	}
}

// Neighbour tables are empty when the control port is asked: ARP and
// neighbour discovery must answer at normal speed too.
func TestNeighbourDiscoveryIsNeverDelayed(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	a.set("2s")
	for _, to := range []string{l.pod.IP, l.pod.IP6} {
		l.node.Exec(t, "ip neigh flush dev br0")
		l.pod.Exec(t, "ip neigh flush dev eth0")
		start := time.Now()
		conn, err := l.node.Dial(t.Context(), "tcp", net.JoinHostPort(to, "2332"))
		took := time.Since(start)
		if err != nil {
			t.Fatalf("connect to %s: %v", to, err)
		}
		_ = conn.Close()
		t.Logf("connecting to %s with empty neighbour tables took %s", to, took)
		if took > prompt {
			t.Errorf("connecting to %s with empty neighbour tables took %s", to, took)
		}
	}
}

func TestLoopbackIsNeverDelayed(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	a.set("2s")
	for _, to := range []string{"127.0.0.1", "::1", l.pod.IP} {
		if got := rtt(t, l.pod, to); got > prompt {
			t.Errorf("ping from the pod to itself at %s: %s", to, got)
		}
	}
}

// Only TCP between the node and a probed port is spared: not the node's ping,
// not its other connections, not the same port for other pods.
func TestProbesAreNeverDelayed(t *testing.T) {
	l := theLab
	a := startAgent(t, "--node-ip=192.0.2.1,"+l.node.IP6, "--probe-ports=4000,10080")
	for _, port := range []int{4000, 10080, 5000} {
		l.pod.Listen(t, fmt.Sprint(":", port), netlab.Discard)
	}
	a.set("2s")
	l.node.Listen(t, net.JoinHostPort(l.node.IP, "4000"), netlab.Discard)
	for _, c := range []struct {
		what     string
		from     *netlab.Host
		to, port string
		want     bool
	}{
		// The lab's node probes from the pod's gateway, as with a bridge CNI.
		{"a probe of 4000", l.node, l.pod.IP, "4000", true},
		{"a probe of 10080", l.node, l.pod.IP, "10080", true},
		{"a probe of 4000 over IPv6", l.node, l.pod.IP6, "4000", true},
		{"the node's connection to a port that is not probed", l.node, l.pod.IP, "5000", false},
		{"the pod's connection to the node's port of the same number", l.pod, l.node.IP, "4000", false},
		{"another pod's connection to a probed port", l.bystander, l.pod.IP, "4000", false},
		{"another pod's connection to a probed port over IPv6", l.bystander, l.pod.IP6, "10080", false},
	} {
		if got := c.from.Connects(t, net.JoinHostPort(c.to, c.port), time.Second); got != c.want {
			t.Errorf("%s within a second: %t, want %t", c.what, got, c.want)
		}
	}
	if p := l.node.Ping(t, l.pod.IP, 1, time.Second); p.Received == 1 && p.Median() < 2*time.Second {
		t.Errorf("the node's ping took %s: it must be delayed, it is how people check", p.Median())
	}
	var status api.Status
	a.into(http.MethodGet, api.PathStatus, http.StatusOK, &status)
	if exempt := strings.Join(status.Exempt, "\n"); !strings.Contains(exempt, "4000, 10080") || !strings.Contains(exempt, l.node.IP) {
		t.Errorf("status does not list the probes' exemption:\n%s", exempt)
	}
}

// Probes come from the gateways of all default routes, also of one that comes
// while the agent runs, and until it goes.
func TestProbesFromAnotherGateway(t *testing.T) {
	l := theLab
	a := freshAgent(t, "--node-ip=192.0.2.9,2001:db8::9", "--probe-ports=4000")
	l.pod.Listen(t, ":4000", netlab.Discard)
	a.set("2s")
	for _, v6 := range []bool{false, true} {
		prober, other, ip := l.bystander, l.node, "ip"
		if v6 { // the bystander connects from another of its addresses
			prober, other, ip = l.node, l.bystander, "ip -6"
		}
		gateway := prober.Address(v6)
		wantExempt := func(want bool) {
			t.Helper()
			netlab.Eventually(t, 10*time.Second, "the exemption follows the routes", func() error {
				if exempt := strings.Join(a.status().Exempt, "\n"); strings.Contains(exempt, gateway) != want {
					return fmt.Errorf("%s, want %s to be in there: %t", exempt, gateway, want)
				}
				return nil
			})
			to := net.JoinHostPort(l.pod.Address(v6), "4000")
			if got := prober.Connects(t, to, time.Second); got != want {
				t.Errorf("%s connects to a probed port within a second: %t, want %t", gateway, got, want)
			}
		}
		wantExempt(false)
		l.pod.Exec(t, ip+" route add default metric 4000 nexthop via "+gateway+" dev eth0 nexthop via "+other.Address(v6)+" dev eth0")
		wantExempt(true)
		l.pod.Exec(t, ip+" route del default metric 4000")
		wantExempt(false)
	}
}
