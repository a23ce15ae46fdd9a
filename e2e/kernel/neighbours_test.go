//go:build kernel

package kernel

import (
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// What the kernel answers with comes from sockets that all namespaces share, with
// room for some hundreds of packets. Those of one pod must not use it up: no
// reply is lost, and no other pod notices.
func TestWaitingRepliesAreNobodyElses(t *testing.T) {
	a := startAgent(t)
	for _, delay := range []time.Duration{time.Second, 30 * time.Second} {
		t.Run(delay.String(), func(t *testing.T) {
			const count, interval = 800, 5 * time.Millisecond
			l := a.lab
			a.apply(api.Fault{Name: "latency", Delay: delay.String()})
			last := (count*interval + delay) / beside
			ends := make(map[string]func() (netlab.Pings, error))
			for what, p := range map[string]struct {
				from *netlab.Host
				to   string
			}{
				"the bystander":           {l.node, l.bystander.IP},
				"the bystander over IPv6": {l.node, l.bystander.IP6},
				"the bystander's loop":    {l.bystander, "127.0.0.1"},
				"the node's loop":         {l.node, "::1"},
			} {
				ends[what] = p.from.StartPing(p.to, int(last), beside)
			}
			slow := []func() (netlab.Pings, error){
				l.node.StartSlowPing(l.pod.IP, count, interval, delay+5*time.Second),
				l.node.StartSlowPing(l.pod.IP6, count, interval, delay+5*time.Second),
			}
			for _, end := range slow {
				p, err := end()
				if err != nil {
					t.Fatal(err)
				}
				if p.Received != p.Sent || p.Duplicates > 0 || p.Least < delay {
					t.Errorf("the pod: %d of %d pings answered, %d twice, the first after %s", p.Received, p.Sent, p.Duplicates, p.Least)
				}
			}
			for what, end := range ends {
				p, err := end()
				if err != nil {
					t.Fatal(err)
				}
				if p.Received != p.Sent || p.Most > prompt {
					t.Errorf("%s: %d of %d pings answered, the last after %s", what, p.Received, p.Sent, p.Most)
				}
			}
			if c := a.fault("latency").Counters; c.Packets < 2*count || c.Dropped+c.Overlimits > 0 {
				t.Errorf("counters %+v after %d pings", c, 2*count)
			}
		})
	}
}

// beside is how often others are pinged meanwhile.
const beside = 20 * time.Millisecond

// Errors that the kernel sends wait too, and all arrive.
func TestErrorsOfTheKernelArrive(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	const count = 400
	l.pod.Shell(t, "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit; echo 0 > /proc/sys/net/ipv6/icmp/ratelimit")
	for counter, to := range map[string]string{"IcmpInDestUnreachs": l.pod.IP, "Icmp6InDestUnreachs": l.pod.IP6} {
		a.set("1s")
		before := snmpCounter(t, l.bystander, counter)
		conn, err := l.bystander.Dial(t.Context(), "udp", net.JoinHostPort(to, "9"))
		if err != nil {
			t.Fatal(err)
		}
		ping := l.node.StartPing(l.bystander.IP, 50, beside)
		start := time.Now()
		for sent := 0; sent < count; {
			if _, err := conn.Write([]byte("nobody listens")); err == nil { // else it got the error of an earlier one
				sent++
			}
			time.Sleep(2 * time.Millisecond) // the kernel sends 1000 errors a second (icmp_msgs_per_sec)
		}
		_ = conn.Close()
		if got := snmpCounter(t, l.bystander, counter) - before; time.Since(start) < time.Second && got > 0 {
			t.Errorf("%s: %d errors came early", counter, got)
		}
		netlab.Eventually(t, 5*time.Second, "the errors arrive", func() error {
			if got := snmpCounter(t, l.bystander, counter) - before; got < count {
				return fmt.Errorf("%s: %d, want %d", counter, got, count)
			}
			return nil
		})
		if p, err := ping(); err != nil || p.Received != p.Sent {
			t.Errorf("the bystander: %d of %d pings answered, %v", p.Received, p.Sent, err)
		}
	}
}

// Large replies are cut up as without a fault, also where the path takes less than
// the interface, and without the flag that forbids it.
func TestLargePings(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	l.pod.Shell(t, "ip route add 10.99.0.0/25 dev eth0 mtu 1300; ip -6 route add fd99::/65 dev eth0 mtu 1300")
	t.Cleanup(func() {
		l.pod.Shell(t, "ip route del 10.99.0.0/25 dev eth0; ip -6 route del fd99::/65 dev eth0")
	})
	installNFT(t, l.bystander, fmt.Sprintf(`
		table ip theirs { chain in { type filter hook prerouting priority -450; ip saddr %s ip length > 1300 drop; ip saddr %s ip protocol icmp ip frag-off & 0x4000 != 0 drop; }; }
		table ip6 theirs { chain in { type filter hook prerouting priority -450; ip6 saddr %s ip6 length > 1260 drop; }; }`, l.pod.IP, l.pod.IP, l.pod.IP6))
	for _, faults := range [][]api.Fault{nil, {{Name: "latency", Delay: "50ms"}}} {
		a.apply(faults...)
		for _, to := range []string{l.pod.IP, l.pod.IP6} {
			for _, size := range []int{56, 1350, 1900, 5000} {
				out, err := l.bystander.Run(exec.Command("ping", "-n", "-c", "5", "-i", "0.1", "-s", strconv.Itoa(size), to))
				if err != nil || !strings.Contains(out, "5 received") {
					t.Errorf("ping %s with %d bytes under %d faults: %v\n%s", to, size, len(faults), err, out)
				}
			}
		}
	}
}

// snmpCounter reads a counter of the host's kernel, as nstat names it.
func snmpCounter(t *testing.T, h *netlab.Host, name string) int {
	t.Helper()
	for line := range strings.Lines(h.Exec(t, "nstat -asz "+name)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			count, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return count
		}
	}
	t.Fatalf("nstat knows no %s", name)
	return 0
}
