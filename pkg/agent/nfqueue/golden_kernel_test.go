//go:build linux && kernel

package nfqueue

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// wantRuleset is what nft prints, less our comments and the hooks. Every queue
// statement has the form of queueText.
const wantRuleset = `table ip tidelay {
chain egress-0 {
continue
meta mark 0x7429646c meta mark set 0x00000000 counter queue num 2340
meta mark 0x7469646c ip frag-off set ip frag-off & 49151 meta mark set 0x00000000 counter queue num 2340
meta mark 0x7469646c queue num 2335
meta mark != 0x00000000 meta l4proto tcp meta skuid >= 0 counter queue num 2340 bypass
tcp flags != syn / syn,ack meta mark set @nh,32,32 & 0x6c646974 ^ 0x4000 | 0x6c642974 dup to rt ip nexthop device oif meta mark set 0x00000000 queue num 2333 bypass
icmp type != echo-request icmp type != timestamp-request icmp type != info-request icmp type != address-mask-request icmp type != 42 ip length > 2048 accept
icmp type != echo-request icmp type != timestamp-request icmp type != info-request icmp type != address-mask-request icmp type != 42 meta mark set @nh,32,32 & 0x6c646974 ^ 0x4000 | 0x6c642974 dup to rt ip nexthop device oif meta mark set 0x00000000 queue num 2333 bypass
counter queue num 2340 bypass
}
chain ingress-0 {
continue
counter queue num 2360 bypass
}
chain ingress-1 {
continue
counter queue num 2333 bypass
}
chain postrouting {
oifname != "eth0" accept
tcp sport 2332 accept
tcp dport 2332 accept
ip daddr 10.99.0.2 tcp sport 20180 accept
ip daddr 10.1.0.0/16 tcp dport 2379-2380 tcp sport 4000 goto egress-0
}
chain prerouting {
iifname != "eth0" accept
tcp sport 2332 accept
tcp dport 2332 accept
ip saddr 10.99.0.2 tcp dport 20180 accept
ip saddr 10.1.2.3 goto ingress-1
ip saddr 10.1.0.0/16 tcp sport 2379-2380 tcp dport 4000 goto ingress-0
}
}
table ip6 tidelay {
chain egress-0 {
continue
meta mark 0x7469646c meta mark set 0x00000000 counter queue num 2340
meta mark != 0x00000000 meta l4proto tcp meta skuid >= 0 counter queue num 2340 bypass
tcp flags != syn / syn,ack meta mark set 0x7469646c dup to rt ip6 nexthop device oif meta mark set 0x00000000 queue num 2333 bypass
icmpv6 type != echo-request icmpv6 type != mld-listener-query icmpv6 type != mld-listener-report icmpv6 type != mld-listener-done icmpv6 type != mld2-listener-report icmpv6 type != 160 ip6 length > 2008 accept
icmpv6 type != echo-request icmpv6 type != mld-listener-query icmpv6 type != mld-listener-report icmpv6 type != mld-listener-done icmpv6 type != mld2-listener-report icmpv6 type != 160 ip6 length > 1240 meta mark set 0x7469646c dup to ip6 daddr device oif meta mark set 0x00000000 queue num 2333 bypass
icmpv6 type != echo-request icmpv6 type != mld-listener-query icmpv6 type != mld-listener-report icmpv6 type != mld-listener-done icmpv6 type != mld2-listener-report icmpv6 type != 160 meta mark set 0x7469646c dup to rt ip6 nexthop device oif meta mark set 0x00000000 queue num 2333 bypass
counter queue num 2340 bypass
}
chain ingress-0 {
continue
counter queue num 2360 bypass
}
chain ingress-1 {
continue
counter queue num 2333 bypass
}
chain postrouting {
oifname != "eth0" accept
icmpv6 type 133-137 accept
tcp sport 2332 accept
tcp dport 2332 accept
ip6 daddr fd99::2 tcp sport 20180 accept
ip6 daddr fd00:1::/32 tcp dport 2379-2380 tcp sport 4000 goto egress-0
}
chain prerouting {
iifname != "eth0" accept
icmpv6 type 133-137 accept
tcp sport 2332 accept
tcp dport 2332 accept
ip6 saddr fd99::2 tcp dport 20180 accept
ip6 saddr fd00:1::/32 tcp sport 2379-2380 tcp dport 4000 goto ingress-0
}
}`

// nft prints the rules with code that is not ours. Only the queue statement is
// read from the kernel here: on kernels without it (see compatQueue), what nft
// prints depends on whether iptables' extensions are installed.
func TestKernelGoldenRuleset(t *testing.T) {
	here, there := newPods(t)
	a := here.start(t, fault.Exemption{NodeAddrs: []netip.Addr{there.v4, there.v6}, ProbePorts: []uint16{20180}})
	a.apply(
		api.Fault{
			Name: "both", Direction: "both", Peers: []string{"10.1.0.0/16", "fd00:1::/32"}, Protocol: "tcp", Delay: "1ms",
			Ports: &api.Ports{Remote: []api.PortRange{{First: 2379, Last: 2380}}, Local: []api.PortRange{{First: 4000, Last: 4000}}},
		},
		api.Fault{Name: "cut", Direction: "ingress", Peers: []string{"10.1.2.3"}, Partition: true},
	)
	queues := here.queueStatements(t)
	const list = "nft --stateless --handle list ruleset"
	for name, command := range map[string]string{
		"with iptables' extensions, if they are installed": list,
		"without them": "env XTABLES_LIBDIR=/nonexistent " + list,
	} {
		t.Run(name, func(t *testing.T) {
			ruleset := here.Exec(t, command)
			if diff := cmp.Diff(wantRuleset, normalizeRuleset(t, ruleset, queues)); diff != "" {
				t.Errorf("rules (-want +got)\n%s\nof\n%s", diff, ruleset)
			}
		})
	}
}

// queueText is the one form of a queue statement in wantRuleset.
func queueText(number uint16, bypass bool) string {
	if bypass {
		return fmt.Sprintf("queue num %d bypass", number)
	}
	return fmt.Sprintf("queue num %d", number)
}

// ruleHandle identifies a rule of our tables.
type ruleHandle struct {
	family string
	handle uint64
}

// queueStatements reads the queue statement of every rule that has one from the
// kernel. None has more.
func (p pod) queueStatements(t *testing.T) map[ruleHandle]string {
	t.Helper()
	all := make(map[ruleHandle]string)
	err := p.Do(func() error {
		conn, err := connect()
		if err != nil {
			return err
		}
		defer func() { _ = conn.CloseLasting() }()
		for name, f := range map[string]family{"ip": ipv4, "ip6": ipv6} {
			chains, err := conn.ListChainsOfTableFamily(f)
			if err != nil {
				return err
			}
			for _, chain := range chains {
				rules, err := conn.GetRules(chain.Table, chain)
				if err != nil {
					return err
				}
				for _, r := range rules {
					if text, ok := queueOf(r.Exprs[len(r.Exprs)-1]); ok {
						all[ruleHandle{name, r.Handle}] = text
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// queueOf returns the text of an expression if it is a queue statement, native
// or as an iptables target.
func queueOf(e expr.Any) (string, bool) {
	switch e := e.(type) {
	case *expr.Queue:
		return queueText(e.Num, e.Flag&expr.QueueFlagBypass != 0), e.Total == 1
	case *expr.Target:
		info, ok := e.Info.(*xt.Unknown)
		if !ok || e.Name != "NFQUEUE" || len(*info) < 6 {
			return "", false
		}
		// struct xt_NFQ_info_v3: first queue, number of queues, flags.
		words := [3]uint16{}
		for i := range words {
			words[i] = binary.NativeEndian.Uint16((*info)[2*i:])
		}
		return queueText(words[0], words[2]&1 != 0), words[1] == 1
	default:
		return "", false
	}
}

// otherForms are what other versions of nft print for the same: 1.1 has masks
// in hexadecimal and writes flags with their mask out, and a system without
// /etc/protocols has no names for protocols.
var otherForms = strings.NewReplacer(
	"ip frag-off & 0xbfff ", "ip frag-off & 49151 ",
	"meta l4proto 6 ", "meta l4proto tcp ",
	"tcp flags & (syn | ack) != syn ", "tcp flags != syn / syn,ack ",
)

var (
	tableLine = regexp.MustCompile(`^table (ip6?) `)
	ruleLine  = regexp.MustCompile(`^(.*?) ?(queue [^"]*?|xt target "NFQUEUE"|) ?comment "[^"]*" # handle (\d+)$`)
	handle    = regexp.MustCompile(` # handle \d+$`)
)

// normalizeRuleset removes comments, handles, hooks and indentation from a
// listing of nft, and puts the queue statements of the kernel in it. It fails the
// test if nft prints another queue statement than the kernel has.
func normalizeRuleset(t *testing.T, listing string, queues map[ruleHandle]string) string {
	t.Helper()
	var lines []string
	family := ""
	for line := range strings.Lines(otherForms.Replace(listing)) {
		line = strings.TrimSpace(line)
		if table := tableLine.FindStringSubmatch(line); table != nil {
			family = table[1]
		}
		if rule := ruleLine.FindStringSubmatch(line); rule != nil {
			number, err := strconv.ParseUint(rule[3], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			queue := queues[ruleHandle{family, number}]
			if printed, ok := parseQueueText(rule[2]); ok && printed != queue {
				t.Errorf("nft prints %q for %q in\n%s", rule[2], queue, line)
			}
			line = strings.TrimSpace(rule[1] + " " + queue)
		}
		line = handle.ReplaceAllString(line, "")
		if line != "" && !strings.HasPrefix(line, "type ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

var (
	// What libxt_NFQUEUE translates the iptables target to, and old versions of
	// nft print for a queue statement.
	queueNum = regexp.MustCompile(`^queue num (\d+)( bypass)?$`)
	// What nft prints for a queue statement since version 0.9.9.
	queueTo = regexp.MustCompile(`^queue( flags bypass)? to (\d+)$`)
)

// parseQueueText reads a queue statement as nft prints it. It returns false for
// text that does not say what the statement is.
func parseQueueText(text string) (string, bool) {
	digits, bypass := "", ""
	if match := queueNum.FindStringSubmatch(text); match != nil {
		digits, bypass = match[1], match[2]
	} else if match := queueTo.FindStringSubmatch(text); match != nil {
		digits, bypass = match[2], match[1]
	} else {
		return text, strings.HasPrefix(text, "queue")
	}
	number, err := strconv.ParseUint(digits, 10, 16)
	return queueText(uint16(number), bypass != ""), err == nil
}

// The forms that this kernel and this nft do not print are read as well.
func TestKernelGoldenQueueForms(t *testing.T) {
	queues := map[ruleHandle]string{{"ip", 3}: "queue num 2340", {"ip6", 3}: "queue num 2333 bypass"}
	for name, c := range map[string]struct{ v4, v6 string }{
		"translated target":   {"counter queue num 2340", "counter queue num 2333 bypass"},
		"statement":           {"counter queue to 2340", "counter queue flags bypass to 2333"},
		"untranslated target": {`counter xt target "NFQUEUE"`, `counter xt target "NFQUEUE"`},
		"nothing":             {"counter ", "counter "},
	} {
		listing := fmt.Sprintf("table ip tidelay { # handle 1\n\t%s comment \"tidelay a\" # handle 3\n}\n"+
			"table ip6 tidelay { # handle 2\n\t%s comment \"tidelay a\" # handle 3\n}\n", c.v4, c.v6)
		want := "table ip tidelay {\ncounter queue num 2340\n}\ntable ip6 tidelay {\ncounter queue num 2333 bypass\n}"
		if diff := cmp.Diff(want, normalizeRuleset(t, listing, queues)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}
