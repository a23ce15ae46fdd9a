//go:build kernel

package kernel

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Nothing passes a partition of both directions, whoever starts.
func TestPartition(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	a.apply(api.Fault{Name: "cut", Partition: true, Direction: "both"})
	for _, c := range []struct {
		from *netlab.Host
		to   string
	}{{l.node, l.pod.IP}, {l.node, l.pod.IP6}, {l.pod, l.bystander.IP}, {l.bystander, l.pod.IP6}} {
		if p := c.from.PingNobody(t, c.to, 5, interval); p.Received != 0 {
			t.Errorf("%d of %d pings to %s passed a partition", p.Received, p.Sent, c.to)
		}
	}
	if c := a.fault("cut").Counters; c.Dropped < 15 {
		t.Errorf("counters of the partition: %+v", c)
	}
	a.apply()
	if p := l.node.Ping(t, l.pod.IP, 5, interval); p.Received != p.Sent {
		t.Errorf("after the partition %d of %d pings passed", p.Received, p.Sent)
	}
}

// A partition from one peer cuts what is open and what is new, either way and
// in each direction, without an error for who sends. Others notice nothing.
func TestPartitionFromAPeer(t *testing.T) {
	const within = 500 * time.Millisecond
	a := startAgent(t)
	l := a.lab
	for _, h := range []*netlab.Host{l.pod, l.bystander} {
		h.Listen(t, ":5001", netlab.Swallow)
	}
	address := func(ip string) string { return net.JoinHostPort(ip, "5001") }
	for _, direction := range []string{"egress", "ingress", "both"} {
		t.Run(direction, func(t *testing.T) {
			a.t = t
			open, err := l.pod.Dial(t.Context(), "tcp", address(l.bystander.IP))
			if err != nil {
				t.Fatal(err)
			}
			defer open.Close()
			a.apply(api.Fault{Name: "cut", Direction: direction, Peers: []string{l.bystander.IP}, Partition: true})
			defer a.apply()
			if l.pod.Connects(t, address(l.bystander.IP), within) || l.bystander.Connects(t, address(l.pod.IP), within) {
				t.Error("a connection comes about")
			}
			if p := l.pod.PingNobody(t, l.bystander.IP, 3, interval); p.Received > 0 {
				t.Errorf("%d of %d pings passed", p.Received, p.Sent)
			}
			if _, err := open.Write([]byte("into the void")); err != nil {
				t.Errorf("the sender is told: %v", err)
			}
			if !l.pod.Connects(t, address(l.bystander.More[0]), 5*time.Second) {
				t.Error("another address is cut off")
			}
			if p := l.pod.Ping(t, l.bystander.More[0], 3, interval); p.Received != p.Sent {
				t.Errorf("%d of %d pings to another address", p.Received, p.Sent)
			}
			// netem counts as packets what it sent, nfqueue what it got.
			c := a.fault("cut").Counters
			if c.Dropped == 0 || c.Backlog != 0 || engineName == "nfqueue" && c.Packets != c.Dropped || engineName == "netem" && c.Packets != 0 {
				t.Errorf("counters %+v", c)
			}
		})
	}
	a.t = t
}

// A partition that nfqueue makes ends with its agent, for who would lift it?
// netem's is the kernel's and stays. Either way the next agent lifts it.
func TestPartitionOfAKilledAgent(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	a.apply(api.Fault{Name: "cut", Partition: true, Peers: []string{l.bystander.IP}})
	a.stop(syscall.SIGKILL)
	ping := l.pod.Ping
	if engineName == "netem" {
		ping = l.pod.PingNobody
	}
	if p := ping(t, l.bystander.IP, 3, interval); (p.Received == 0) != (engineName == "netem") {
		t.Errorf("while the agent is dead %d of %d pings passed", p.Received, p.Sent)
	}
	a.start()
	a.wantHeld(1)
	a.apply()
	if p := l.pod.Ping(t, l.bystander.IP, 3, interval); p.Received != p.Sent {
		t.Errorf("after the next agent lifted it %d of %d pings passed", p.Received, p.Sent)
	}
}
