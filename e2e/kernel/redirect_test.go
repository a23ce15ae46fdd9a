//go:build kernel

package kernel

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Ports are those on the wire, whatever the pod's own NAT makes of them: the
// control port is reached through a proxy during a partition, and a fault on a
// port meets packets that are redirected to another.
func TestPortsAreThoseOnTheWire(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	for _, family := range []string{"ip", "ip6"} {
		installNFT(t, l.pod, "table "+family+` theirs {
			chain in { type nat hook prerouting priority dstnat; iifname "eth0" tcp dport 2332 redirect to :15006; tcp dport 4000 redirect to :4001; }
			chain out { type nat hook output priority -100; oifname "eth0" tcp dport 4002 redirect to :4003; }; }`)
	}
	l.pod.Listen(t, ":15006", func(conn net.Conn) {
		agent, err := l.pod.Dial(t.Context(), "tcp", "127.0.0.1:2332")
		if err != nil {
			t.Error(err)
			return
		}
		defer agent.Close()
		go func() { _, _ = io.Copy(agent, conn) }()
		_, _ = io.Copy(conn, agent)
	})
	for _, port := range []string{":4001", ":5000"} {
		l.pod.Listen(t, port, netlab.Discard)
	}
	a.apply(api.Fault{Name: "cut", Direction: "both", Partition: true})
	for _, ip := range []string{l.pod.IP, l.pod.IP6} {
		if got := l.bystander.ConnectTime(t, net.JoinHostPort(ip, "2332")); got > prompt {
			t.Errorf("connecting to %s port 2332 during a partition took %s", ip, got)
		}
		if l.bystander.Connects(t, net.JoinHostPort(ip, "4000"), 300*time.Millisecond) {
			t.Errorf("connecting to %s port 4000 works during a partition", ip)
		}
	}
	a.wantHeld(1)

	on := func(port uint16) *api.Ports { return &api.Ports{Local: []api.PortRange{{First: port, Last: port}}} }
	for _, direction := range []string{"ingress", "egress"} {
		a.apply(api.Fault{Name: "slow", Direction: direction, Delay: "400ms", Protocol: "tcp", Ports: on(4000)},
			api.Fault{Name: "unmet", Direction: direction, Delay: "10s", Protocol: "tcp", Ports: on(4001)})
		for _, ip := range []string{l.pod.IP, l.pod.IP6} {
			if got := l.bystander.ConnectTime(t, net.JoinHostPort(ip, "4000")); got < 400*time.Millisecond || got > 400*time.Millisecond+prompt {
				t.Errorf("%s: connecting to %s port 4000 took %s", direction, ip, got)
			}
			if got := l.bystander.ConnectTime(t, net.JoinHostPort(ip, "5000")); got > 300*time.Millisecond {
				t.Errorf("%s: connecting to %s port 5000 took %s", direction, ip, got)
			}
		}
		if c := a.fault("slow").Counters; c.Packets == 0 {
			t.Errorf("%s: the fault has met no packet: %+v", direction, c)
		}
		if c := a.fault("unmet").Counters; c.Packets != 0 {
			t.Errorf("%s: a fault on a port inside the pod has met %+v", direction, c)
		}
	}
}

// installNFT adds nftables rules to a host until the test ends, or undo is
// called. All of them are in tables named theirs. User Mode Linux has no family of
// tables; the other kernels that netem is tried on do.
func installNFT(t *testing.T, h *netlab.Host, rules string) (undo func()) {
	t.Helper()
	for _, family := range []string{"ip", "ip6", "inet"} {
		if out, err := h.Output("nft add table " + family + " theirs"); err != nil {
			t.Skipf("this kernel has no nftables of the family %s: %v: %s", family, err, out)
		}
	}
	h.Shell(t, "nft '"+rules+"'")
	undo = func() {
		for _, family := range []string{"ip", "ip6", "inet"} {
			_, _ = h.Output("nft delete table " + family + " theirs")
		}
	}
	t.Cleanup(undo)
	return undo
}
