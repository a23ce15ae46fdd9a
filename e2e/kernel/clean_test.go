//go:build kernel

package kernel

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// What is never touched stays clean in every direction, under the worst there
// is.
func TestExemptionsHoldInEveryDirection(t *testing.T) {
	a := startAgent(t, "--probe-ports=4000", "--node-ip=192.0.2.1,"+theLab.node.IP6)
	l := a.lab
	l.pod.Listen(t, ":4000", netlab.Discard)
	l.bystander.Listen(t, fmt.Sprint(":", api.Port), netlab.Discard)
	for _, direction := range []string{"egress", "ingress", "both"} {
		for _, w := range []api.Fault{{Partition: true}, {Delay: "3s"}} {
			w.Name, w.Direction = "all", direction
			t.Run(direction+" "+cmp.Or(w.Delay, "partition"), func(t *testing.T) {
				a.t = t
				a.apply(w)
				l.node.Exec(t, "ip neigh flush dev br0")
				l.pod.Exec(t, "ip neigh flush dev eth0")
				for _, c := range []struct {
					what     string
					from     *netlab.Host
					to, port string
				}{
					{"the control port", l.node, l.pod.IP, "2332"},
					{"the control port over IPv6", l.bystander, l.pod.IP6, "2332"},
					{"another pod's control port", l.pod, l.bystander.IP, "2332"},
					{"a probe", l.node, l.pod.IP, "4000"},
					{"a probe over IPv6", l.node, l.pod.IP6, "4000"},
				} {
					if got := c.from.ConnectTime(t, net.JoinHostPort(c.to, c.port)); got > prompt {
						t.Errorf("%s took %s", c.what, got)
					}
				}
				for _, to := range []string{"127.0.0.1", "::1", l.pod.IP6} {
					if p := l.pod.Ping(t, to, 3, interval); p.Received != p.Sent || p.Median() > prompt {
						t.Errorf("ping from the pod to itself at %s: %+v", to, p)
					}
				}
				if p := l.node.PingNobody(t, l.pod.IP, 2, interval); p.Received > 0 {
					t.Errorf("%d pings passed, in %s", p.Received, p.Median())
				}
			})
		}
	}
	a.t = t
}

// A long partition whose neighbour tables are flushed again and again ends
// neither the control port nor the way back. TIDELAY_PARTITION is how long,
// such as "10m".
func TestLongPartition(t *testing.T) {
	long, err := time.ParseDuration(cmp.Or(os.Getenv("TIDELAY_PARTITION"), "9s"))
	if err != nil {
		t.Fatal(err)
	}
	a := startAgent(t)
	l := a.lab
	a.apply(api.Fault{Name: "cut", Partition: true, Direction: "both"})
	asked := 0
	for start, flushed := time.Now(), 0; time.Since(start) < long; asked++ {
		if due := int(3 * time.Since(start) / long); due > flushed { // twice, each after a third
			flushed = due
			l.node.Exec(t, "ip neigh flush dev br0")
			l.pod.Exec(t, "ip neigh flush dev eth0")
			l.bystander.Exec(t, "ip neigh flush dev eth0")
		}
		asking := time.Now()
		if status, body, err := a.request(api.PathLatency); err != nil || status != http.StatusOK || time.Since(asking) > prompt {
			t.Fatalf("after %s of partition the control port took %s: %d, %v, %s", time.Since(start), time.Since(asking), status, err, body)
		}
		if p := l.bystander.PingNobody(t, l.pod.IP, 5, 100*time.Millisecond); p.Received > 0 {
			t.Fatalf("after %s %d pings passed", time.Since(start), p.Received)
		}
	}
	t.Logf("the control port was asked %d times in %s", asked, long)
	a.wantHeld(1)
	a.apply()
	if err := netlab.Poll(5*time.Second, func() error {
		if p := l.bystander.Ping(t, l.pod.IP, 5, interval); p.Received != p.Sent {
			return fmt.Errorf("%d of %d pings", p.Received, p.Sent)
		}
		return nil
	}); err != nil {
		t.Errorf("after the partition: %v", err)
	}
}
