package netem

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// hookOf decides whose an ingress qdisc is by the filters on it and by what else
// of ours is there.
func TestHookOf(t *testing.T) {
	redirect := func(f family, index int) u32 {
		return u32{kind: kindU32, priority: priority(0, f), protocol: f.protocol(), node: firstNode, redirect: index}
	}
	ingress, clsact := qdisc{kind: kindIngress, handle: handleIngress}, qdisc{kind: "clsact", handle: handleIngress}
	table := u32{kind: kindU32, isTable: true, redirect: -1}
	other := u32{kind: kindU32, priority: 7, protocol: unix.ETH_P_ALL, redirect: -1}
	elsewhere := redirect(ipv4, 99)
	numbered := redirect(ipv4, 5)
	numbered.node = 0x800
	narrow := redirect(ipv4, 5)
	narrow.keys = claim().keys
	mark := u32{kind: kindU32, priority: priority(claimBlock, ipv4), protocol: unix.ETH_P_IP, node: firstNode, classID: class(bandClean), keys: claim().keys, redirect: -1, simple: true}
	both := [families]bool{true, true}
	for name, c := range map[string]struct {
		q       qdisc
		filters []u32
		ifb     int
		claimed bool
		want    hook
	}{
		"ours":                       {ingress, []u32{table, redirect(ipv4, 5), table, redirect(ipv6, 5)}, 5, false, hook{present: true, redirects: both}},
		"half of ours":               {ingress, []u32{redirect(ipv6, 5)}, 5, false, hook{present: true, redirects: [families]bool{ipv6: true}}},
		"empty, with our ifb":        {ingress, nil, 5, false, hook{present: true}},
		"empty, with our mark":       {ingress, nil, 0, true, hook{present: true}},
		"only our claim":             {ingress, []u32{table, mark}, 0, false, hook{present: true, claimed: true}},
		"our claim, in use":          {ingress, []u32{mark, other}, 0, false, hook{claimed: true, occupiedBy: "qdisc ingress ffff:"}},
		"ours with the claim":        {ingress, []u32{redirect(ipv4, 5), redirect(ipv6, 5), mark}, 5, false, hook{present: true, claimed: true, redirects: both}},
		"empty":                      {ingress, nil, 0, false, hook{occupiedBy: "qdisc ingress ffff:"}},
		"clsact":                     {clsact, nil, 5, true, hook{occupiedBy: "qdisc clsact ffff:"}},
		"in use":                     {ingress, []u32{other}, 0, true, hook{occupiedBy: "qdisc ingress ffff:"}},
		"a redirect somewhere else":  {ingress, []u32{elsewhere}, 5, true, hook{occupiedBy: "qdisc ingress ffff:"}},
		"a redirect of somebody's":   {ingress, []u32{numbered}, 5, true, hook{occupiedBy: "qdisc ingress ffff:"}},
		"a redirect of some packets": {ingress, []u32{narrow}, 5, true, hook{occupiedBy: "qdisc ingress ffff:"}},
		"the ifb is gone":            {ingress, []u32{redirect(ipv4, 0), redirect(ipv6, 0)}, 0, false, hook{present: true, broken: both}},
		"the ifb is a new one":       {ingress, []u32{redirect(ipv4, 0)}, 6, false, hook{present: true, broken: [families]bool{ipv4: true}}},
	} {
		if got := hookOf(c.q, c.filters, c.ifb, c.claimed); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	got := hookOf(ingress, []u32{redirect(ipv4, 5), other}, 5, true)
	if got.present || !strings.Contains(got.foreignInside, "u32 filter with priority 7 on qdisc ingress ffff:") {
		t.Errorf("somebody else's filter beside ours: %+v", got)
	}
}
