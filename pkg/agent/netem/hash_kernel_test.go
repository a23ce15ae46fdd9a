//go:build kernel

package netem

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Packets meet what they should through hash tables, before them and behind them.
// One set after the other leaves no table of an earlier one, and neither does an
// agent that was killed before it has deleted them.
func TestKernelHashedFilters(t *testing.T) {
	l := newLab(t)
	e := l.engine(nil)
	before := l.configuration()
	set := func(peers int) []fault.Fault {
		hashed := fault.Match{Direction: fault.Both}
		for i := range peers {
			hashed.Peers = append(hashed.Peers, prefixes(fmt.Sprintf("10.7.%d.9/32", i), fmt.Sprintf("10.%d.0.0/16", 100+i), fmt.Sprintf("fd07::%x/128", i))...)
		}
		hashed.Peers = append(hashed.Peers, prefixes(l.peer(1)+"/32", l.node.IP6+"/128")...)
		return []fault.Fault{
			matched("hashed", hashed, 30*ms),
			matched("port", fault.Match{Direction: fault.Egress, Peers: prefixes(l.peer(2) + "/32"), Protocol: "udp"}, 20*ms),
			matched("rest", fault.Match{Direction: fault.Egress, Peers: prefixes("10.99.0.0/24")}, 10*ms),
		}
	}
	tables := func() int { return strings.Count(l.pod.Exec(t, "tc filter show dev eth0"), "divisor 256") }
	for round, peers := range []int{20, 30, 1, 20, 40} {
		l.apply(e, set(peers)...)
		if want := map[bool]int{true: 3}[peers > leastHashed]; tables() != want {
			t.Errorf("round %d: %d tables, want %d", round, tables(), want)
		}
		l.wantDelay("hashed", l.flow(l.peer(1), 0, 0), 30*ms)
		l.wantDelay("hashed, IPv6", l.flow(l.node.IP6, 0, 0), 30*ms)
		l.wantDelay("hashed, arriving", l.flowToPod(l.peer(1), 0, 0), 30*ms)
		l.wantDelay("a more precise one", l.flow(l.peer(2), 0, 0), 20*ms)
		l.wantDelay("behind the tables", l.flow(l.peer(3), 0, 0), 10*ms)
	}
	// Each block in turn loses its list and leaves its tables.
	for index := range maxBlocks {
		l.apply(e, set(20+index)...)
		for _, f := range []family{ipv4, ipv6} {
			l.shell(fmt.Sprintf("for p in 1 3 5 7; do tc filter del dev eth0 parent 7de1: protocol %s prio $((p + %d)) 2>/dev/null || true; done", f, f))
		}
		e = l.engine(nil)
		l.apply(e, set(20)...)
		l.wantDelay("hashed, after a crash", l.flow(l.peer(1), 0, 0), 30*ms)
	}
	l.apply(e)
	if after := l.configuration(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
