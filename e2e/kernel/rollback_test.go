//go:build kernel

package kernel

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// What the kernel refuses in the middle leaves what was there in force. An
// ingress qdisc of somebody else's is in the way of netem's faults of ingress,
// and a table of theirs with our name in nfqueue's.
func TestRefusedInTheMiddleRollsBack(t *testing.T) {
	if engineName == "nfqueue" {
		testForeignTableRefusesASet(t)
		return
	}
	a := startAgent(t)
	l := a.lab
	// An agent that has faults of egress has an ingress qdisc of its own, and
	// nobody can put another there; so theirs comes first.
	l.pod.Exec(t, "tc qdisc add dev eth0 handle ffff: ingress")
	defer l.pod.Exec(t, "tc qdisc del dev eth0 ingress")
	defer a.apply() // before theirs goes
	base := rtt(t, l.node, l.pod.IP)
	held := []api.Fault{
		{Name: "latency", Delay: "20ms"},
		{Name: "cut", Partition: true, Peers: []string{l.bystander.More[0]}},
	}
	a.apply(held...)
	wanted := []api.Fault{
		{Name: "latency", Delay: "40ms"},
		{Name: "cut", Partition: true, Peers: []string{l.bystander.More[1]}},
		{Name: "back", Delay: "5ms", Direction: "ingress"},
	}
	problem := a.refused(http.StatusConflict, wanted...)
	if problem.Detail == "" {
		t.Error("the problem has no detail")
	}
	a.wantHeld(len(held))
	wantRTT(t, l.node, "after the refused set", l.pod.IP, base, 20*time.Millisecond)
	if p := l.pod.PingNobody(t, l.bystander.More[0], 5, interval); p.Received > 0 {
		t.Errorf("%d pings passed the partition", p.Received)
	}
	if p := l.pod.Ping(t, l.bystander.More[1], 5, interval); p.Received != p.Sent {
		t.Errorf("%d of %d pings to a peer of the refused set", p.Received, p.Sent)
	}
	a.apply(wanted[:2]...) // what needs no ingress still works
}

// A table for one family is in the way; nothing may come of the other one's.
func testForeignTableRefusesASet(t *testing.T) {
	t.Helper()
	a := startAgent(t)
	l := a.lab
	l.pod.Exec(t, "nft add table ip6 tidelay")
	l.pod.Exec(t, "nft add chain ip6 tidelay theirs")
	end := sync.OnceFunc(func() { l.pod.Exec(t, "nft delete table ip6 tidelay") })
	defer end()
	a.refused(http.StatusConflict, api.Fault{Name: "cut", Partition: true, Direction: "both"})
	for _, to := range []string{l.pod.IP, l.pod.IP6} {
		if p := l.node.Ping(t, to, 5, interval); p.Received != p.Sent {
			t.Errorf("%d of %d pings to %s after a refused partition", p.Received, p.Sent, to)
		}
	}
	end()
	a.set("20ms")
}
