//go:build linux && kernel

package nfqueue

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// The rules in the words of nft, which reads them with code that is not ours,
// less our comments and the hooks.
func TestKernelRulesInWords(t *testing.T) {
	const want = `table ip tidelay {
chain egress-0 {
meta mark 0x7469646c meta mark set 0x00000000 counter queue num 2340
meta mark 0x00000000 tcp flags ! syn meta mark set 0x7469646c dup to ip daddr device oif meta mark set 0x00000000 queue num 2333 bypass
counter queue num 2340 bypass
}
chain ingress-0 {
counter queue num 2360 bypass
}
chain ingress-1 {
counter queue num 2333 bypass
}
chain input {
iifname != "eth0" return
tcp sport 2332 return
tcp dport 2332 return
ip saddr 10.99.0.2 tcp dport 20180 return
ip saddr 10.1.2.3 goto ingress-1
ip saddr 10.1.0.0/16 tcp sport 2379-2380 tcp dport 4000 goto ingress-0
}
chain postrouting {
oifname != "eth0" return
tcp sport 2332 return
tcp dport 2332 return
ip daddr 10.99.0.2 tcp sport 20180 return
ip daddr 10.1.0.0/16 tcp dport 2379-2380 tcp sport 4000 goto egress-0
}
}
table ip6 tidelay {
chain egress-0 {
meta mark 0x7469646c meta mark set 0x00000000 counter queue num 2340
meta mark 0x00000000 tcp flags ! syn meta mark set 0x7469646c dup to ip6 daddr device oif meta mark set 0x00000000 queue num 2333 bypass
counter queue num 2340 bypass
}
chain ingress-0 {
counter queue num 2360 bypass
}
chain ingress-1 {
counter queue num 2333 bypass
}
chain input {
iifname != "eth0" return
icmpv6 type 133-137 return
tcp sport 2332 return
tcp dport 2332 return
ip6 saddr fd99::2 tcp dport 20180 return
ip6 saddr fd00:1::/32 tcp sport 2379-2380 tcp dport 4000 goto ingress-0
}
chain postrouting {
oifname != "eth0" return
icmpv6 type 133-137 return
tcp sport 2332 return
tcp dport 2332 return
ip6 daddr fd99::2 tcp sport 20180 return
ip6 daddr fd00:1::/32 tcp dport 2379-2380 tcp sport 4000 goto egress-0
}
}`
	here, there := newPods(t)
	a := here.start(t, fault.Exemption{NodeAddrs: []netip.Addr{there.v4, there.v6}, ProbePorts: []uint16{20180}})
	a.apply(
		api.Fault{
			Name: "both", Direction: "both", Peers: []string{"10.1.0.0/16", "fd00:1::/32"}, Protocol: "tcp", Delay: "1ms",
			Ports: &api.Ports{Remote: []api.PortRange{{First: 2379, Last: 2380}}, Local: []api.PortRange{{First: 4000, Last: 4000}}},
		},
		api.Fault{Name: "cut", Direction: "ingress", Peers: []string{"10.1.2.3"}, Partition: true},
	)
	ruleset := here.ruleset(t)
	if strings.Contains(ruleset, "NFQUEUE") {
		// A kernel without the queue statement; the words for it are xt's.
		t.Skip("this kernel queues with an iptables target, which nft has no words for")
	}
	var got []string
	for line := range strings.Lines(ruleset) {
		rule, _, _ := strings.Cut(strings.TrimSpace(line), ` comment "`)
		if rule != "" && !strings.HasPrefix(rule, "type ") {
			got = append(got, rule)
		}
	}
	if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
		t.Errorf("rules (-want +got)\n%s\nof\n%s", diff, ruleset)
	}
}
