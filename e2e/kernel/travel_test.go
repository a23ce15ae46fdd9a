//go:build kernel

package kernel

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// What waits leaves as it would have left without a fault: by the same gateway,
// with the same flags, past the same firewall.

// wantEcho wants a TCP connection to send a lot there and back, late by the delay.
// The source address is from the host's, or empty for any.
func wantEcho(t *testing.T, from *netlab.Host, source, address string, delay time.Duration) {
	t.Helper()
	dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	var conn net.Conn
	err := from.Do(func() (err error) {
		conn, err = dialer.Dial("tcp", address)
		return err
	})
	if err != nil {
		t.Errorf("connect to %s: %v", address, err)
		return
	}
	defer conn.Close()
	content := make([]byte, 200_000)
	start := time.Now()
	_ = conn.SetDeadline(start.Add(10 * time.Second))
	go func() { _, _ = conn.Write(content) }()
	if n, err := io.ReadFull(conn, content); err != nil {
		t.Errorf("%d of %d bytes come back from %s: %v", n, len(content), address, err)
	}
	if took := time.Since(start); took < delay {
		t.Errorf("a round trip to %s takes %s under a delay of %s", address, took, delay)
	}
}

const travelDelay = 20 * time.Millisecond

// Where the gateway depends on the source, so it does under a fault.
func TestPolicyRouting(t *testing.T) {
	const farV4, farV6 = "10.88.0.1", "fd88::1"
	for name, direct := range map[string]bool{"the gateway is in every table": true, "the gateway is in its table only": false} {
		t.Run(name, func(t *testing.T) {
			a := startAgent(t)
			l := a.lab
			l.bystander.Shell(t, fmt.Sprintf("ip addr add %s/32 dev lo; ip addr add %s/128 dev lo nodad", farV4, farV6))
			connected := fmt.Sprintf("ip route add 10.99.0.0/24 dev eth0 table 100; ip -6 route add fd99::/64 dev eth0 table 100; ")
			undo := ""
			if !direct {
				// The other tables lead to that gateway by another one.
				connected += fmt.Sprintf("ip route add %[1]s via %[2]s dev eth0; ip -6 route add %[3]s via %[4]s dev eth0; ", l.bystander.IP, l.node.IP, l.bystander.IP6, l.node.IP6)
				undo = fmt.Sprintf("ip route del %s; ip -6 route del %s; ", l.bystander.IP, l.bystander.IP6)
			}
			l.pod.Shell(t, connected+fmt.Sprintf(`ip -6 route add default via %[1]s dev eth0
				ip route add default via %[2]s dev eth0 table 100; ip -6 route add default via %[3]s dev eth0 table 100
				ip rule add from %[4]s table 100; ip -6 rule add from %[5]s table 100`, l.node.IP6, l.bystander.IP, l.bystander.IP6, l.pod.IP, l.pod.IP6))
			t.Cleanup(func() {
				l.pod.Shell(t, undo+`ip rule del table 100; ip -6 rule del table 100; ip route flush table 100; ip -6 route flush table 100; ip -6 route del default`)
				l.bystander.Shell(t, fmt.Sprintf("ip addr del %s/32 dev lo; ip addr del %s/128 dev lo", farV4, farV6))
			})
			for _, h := range []*netlab.Host{l.pod, l.bystander} {
				h.Listen(t, ":4100", netlab.EchoTCP)
			}
			warnings := a.apply(api.Fault{Name: "latency", Delay: travelDelay.String()}).Warnings
			if engineName == "nfqueue" && (len(warnings) == 2) == direct {
				t.Errorf("warnings %q", warnings)
			}
			for far, source := range map[string]string{farV4: l.pod.IP, farV6: l.pod.IP6} {
				wantEcho(t, l.pod, source, net.JoinHostPort(far, "4100"), travelDelay)
			}
			for _, ip := range []string{l.pod.IP, l.pod.IP6} {
				wantEcho(t, l.node, "", net.JoinHostPort(ip, "4100"), travelDelay)
			}
		})
	}
}

// A packet has the flag DF if it would have it without a fault.
func TestDontFragment(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	const sysctl = "/proc/sys/net/ipv4/ip_no_pmtu_disc"
	t.Cleanup(func() { l.pod.Shell(t, "echo 0 > "+sysctl) })
	l.bystander.Listen(t, ":4100", netlab.EchoTCP)
	a.set(travelDelay.String())
	for value, wrong := range map[string]string{"0": "== 0", "1": "!= 0"} {
		t.Run("ip_no_pmtu_disc="+value, func(t *testing.T) {
			l.pod.Shell(t, "echo "+value+" > "+sysctl)
			installNFT(t, l.bystander, fmt.Sprintf(`table ip theirs { chain in { type filter hook prerouting priority -450;
				ip saddr %s tcp dport 4100 ip frag-off & 0x4000 %s drop; }; }`, l.pod.IP, wrong))
			wantEcho(t, l.pod, "", net.JoinHostPort(l.bystander.IP, "4100"), travelDelay)
		})
	}
}

// A firewall of the pod treats what waits as without a fault. It may be there
// before the fault or come later; then the status says what to do.
func TestFirewallInThePod(t *testing.T) {
	const rules = `table inet theirs {
		chain in { type filter hook input priority 0; policy accept; ct state invalid drop; }
		chain out { type filter hook output priority 0; policy drop; oifname "lo" accept; ct state established,related accept; icmpv6 type 133-137 accept; }; }`
	const harmless = `table inet theirs { chain out { type filter hook output priority 0; policy accept; ct state invalid drop; counter; tcp dport 9 accept; }; }`
	for name, c := range map[string]struct {
		rules  string
		warned bool
	}{"drops what is not established": {rules, true}, "drops what is invalid": {harmless, false}} {
		t.Run(name, func(t *testing.T) {
			a := startAgent(t)
			l := a.lab
			l.pod.Listen(t, ":4100", netlab.EchoTCP)
			warned := c.warned && engineName == "nfqueue"
			fault := api.Fault{Name: "latency", Delay: travelDelay.String()}
			a.apply(fault)
			undo := installNFT(t, l.pod, c.rules)
			if got := strings.Contains(strings.Join(a.status().Warnings, "\n"), "set them again"); got != warned {
				t.Errorf("after a firewall was installed, warnings %q", a.status().Warnings)
			}
			a.clearAll()
			answer := a.apply(fault)
			if got := strings.Contains(strings.Join(answer.Warnings, "\n"), `"out"`); got != warned {
				t.Errorf("warnings %q", answer.Warnings)
			}
			if got := strings.Join(a.status().Warnings, "\n"); got != strings.Join(answer.Warnings, "\n") {
				t.Errorf("the status warns %q, the answer %q", got, answer.Warnings)
			}
			var latency api.Latency
			a.into(http.MethodGet, api.PathLatency+"/"+travelDelay.String(), http.StatusOK, &latency)
			if len(latency.Warnings) > 0 != warned {
				t.Errorf("the answer of /latency warns %q", latency.Warnings)
			}
			for _, ip := range []string{l.pod.IP, l.pod.IP6} {
				wantEcho(t, l.bystander, "", net.JoinHostPort(ip, "4100"), travelDelay)
				if p := l.bystander.Ping(t, ip, 20, beside); p.Received != p.Sent || p.Duplicates > 0 {
					t.Errorf("ping %s: %d of %d answered, %d twice", ip, p.Received, p.Sent, p.Duplicates)
				}
			}
			undo()
			if got := strings.Contains(strings.Join(a.status().Warnings, "\n"), "is gone"); got != warned {
				t.Errorf("after the firewall was removed, warnings %q", a.status().Warnings)
			}
		})
	}
}
