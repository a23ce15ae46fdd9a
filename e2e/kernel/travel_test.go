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
func wantEcho(t *testing.T, from *netlab.Host, source, address string) {
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
	if took := time.Since(start); took < travelDelay {
		t.Errorf("a round trip to %s takes %s under a delay of %s", address, took, travelDelay)
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
			connected := "ip route add 10.99.0.0/24 dev eth0 table 100; ip -6 route add fd99::/64 dev eth0 table 100; "
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
				wantEcho(t, l.pod, source, net.JoinHostPort(far, "4100"))
			}
			for _, ip := range []string{l.pod.IP, l.pod.IP6} {
				wantEcho(t, l.node, "", net.JoinHostPort(ip, "4100"))
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
			wantEcho(t, l.pod, "", net.JoinHostPort(l.bystander.IP, "4100"))
		})
	}
}

// A firewall of the pod treats what waits as without a fault, whether it is there
// before the fault or comes later. What that costs is told.
func TestFirewallInThePod(t *testing.T) {
	const strict = `table inet theirs {
		chain in { type filter hook input priority 0; policy accept; ct state invalid drop; }
		chain out { type filter hook output priority 0; policy drop; oifname "lo" accept; ct state established,related accept; icmpv6 type 133-137 accept; }; }`
	const harmless = `table inet theirs { chain out { type filter hook output priority 0; policy accept; ct state invalid drop; counter; tcp dport 9 accept; }; }`
	for name, c := range map[string]struct {
		install func(t *testing.T, h *netlab.Host) (undo func())
		chain   string // that is warned of
	}{
		"drops what is not established": {nftRules(strict), `"out"`},
		"drops what is invalid":         {nftRules(harmless), ""},
		"is of iptables' own tables":    {installIPTables, "OUTPUT"},
	} {
		t.Run(name, func(t *testing.T) {
			a := startAgent(t)
			l := a.lab
			l.pod.Listen(t, ":4100", netlab.EchoTCP)
			warned := c.chain != "" && engineName == "nfqueue"
			wantWarnings := func(what string, warnings []string, want bool) error {
				if got := len(warnings) > 0 && strings.Contains(strings.Join(warnings, "\n"), c.chain); got != want {
					return fmt.Errorf("%s warns %q", what, warnings)
				}
				return nil
			}
			wantTravel := func() {
				t.Helper()
				for _, ip := range []string{l.pod.IP, l.pod.IP6} {
					wantEcho(t, l.bystander, "", net.JoinHostPort(ip, "4100"))
					if p := l.bystander.Ping(t, ip, 20, beside); p.Received != p.Sent || p.Duplicates > 0 {
						t.Errorf("ping %s: %d of %d answered, %d twice", ip, p.Received, p.Sent, p.Duplicates)
					}
				}
			}
			fault := api.Fault{Name: "latency", Delay: travelDelay.String()}
			a.apply(fault)
			undo := c.install(t, l.pod)
			netlab.Eventually(t, 5*time.Second, "the firewall is noticed", func() error {
				return wantWarnings("the status", a.status().Warnings, warned)
			})
			wantTravel()
			a.clearAll()
			var latency api.Latency
			a.into(http.MethodGet, api.PathLatency+"/"+travelDelay.String(), http.StatusOK, &latency)
			if err := wantWarnings("the answer of /latency", latency.Warnings, warned); err != nil {
				t.Error(err)
			}
			if err := wantWarnings("the answer", a.apply(fault).Warnings, warned); err != nil {
				t.Error(err)
			}
			wantTravel()
			undo()
			netlab.Eventually(t, 5*time.Second, "the end of the firewall is noticed", func() error {
				return wantWarnings("the status", a.status().Warnings, false)
			})
			wantTravel()
		})
	}
}

func nftRules(rules string) func(*testing.T, *netlab.Host) func() {
	return func(t *testing.T, h *netlab.Host) func() {
		t.Helper()
		return installNFT(t, h, rules)
	}
}

// installIPTables adds a firewall to iptables' own tables until the test ends, or
// undo is called.
func installIPTables(t *testing.T, h *netlab.Host) (undo func()) {
	t.Helper()
	for _, command := range []string{"iptables-legacy", "ip6tables-legacy"} {
		if out, err := h.Output(command + " -S"); err != nil {
			t.Skipf("this kernel has no tables of iptables' own: %v: %s", err, out)
		}
		h.Shell(t, fmt.Sprintf(`%[1]s -P OUTPUT DROP; %[1]s -A OUTPUT -o lo -j ACCEPT
			%[1]s -A OUTPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT`, command))
	}
	h.Shell(t, "ip6tables-legacy -A OUTPUT -p icmpv6 --icmpv6-type neighbour-solicitation -j ACCEPT; ip6tables-legacy -A OUTPUT -p icmpv6 --icmpv6-type neighbour-advertisement -j ACCEPT")
	undo = func() {
		for _, command := range []string{"iptables-legacy", "ip6tables-legacy"} {
			_, _ = h.Output(command + " -P OUTPUT ACCEPT")
			_, _ = h.Output(command + " -F OUTPUT")
		}
	}
	t.Cleanup(undo)
	return undo
}
