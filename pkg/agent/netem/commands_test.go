package netem

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/fault"
)

func TestCommands(t *testing.T) {
	exempt := fault.Exemption{ControlPort: 2332}
	got := Commands([]string{"eth0", "eth1"}, exempt, 256<<20, []fault.Fault{
		matched("x", fault.Match{Direction: fault.Both, Device: "eth1", Peers: prefixes("10.0.0.0/8")}, 20*ms),
	})
	for _, want := range []string{
		"tc qdisc add dev eth1 root handle 7de1: prio bands 16 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
		"tc qdisc replace dev eth1 parent 7de1:1 handle 7de3: pfifo limit 1000",
		"tc qdisc replace dev eth1 parent 7de1:2 handle 7e02: netem limit 10000 delay 20ms",
		"tc filter add dev eth1 parent 7de1: protocol ip prio 1 handle ::3 u32 match u32 0x0a000000 0xff000000 at 16 flowid 7de1:2",
		"ifb=tidelay$(ip -o link show dev eth1 | cut -d: -f1)",
		"ip link add $ifb txqueuelen 1000 type ifb",
		"ip link set dev $ifb up",
		"tc filter add dev $ifb parent 7de1: protocol ip prio 1 handle ::3 u32 match u32 0x0a000000 0xff000000 at 12 flowid 7de1:2",
		"tc qdisc add dev eth1 ingress",
		"tc filter add dev eth1 parent 7de1: protocol ip prio 9 handle ::1 u32 match u32 0x00000000 0xf0000000 at 0 flowid 7de1:1",
		"tc filter add dev eth1 parent ffff: protocol ipv6 prio 2 handle ::1 u32 match u32 0 0 action mirred egress redirect dev $ifb",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no command\n%s\namong\n%s", want, strings.Join(got, "\n"))
		}
	}
	if slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "eth0") }) {
		t.Error("commands for an interface that no fault is for")
	}
	if got := Commands([]string{"eth0"}, exempt, 256<<20, nil); len(got) > 0 {
		t.Errorf("commands for nothing: %v", got)
	}
}
