package fault_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// matching is a fault that delays what matches.
func matching(name string, change func(f *api.Fault)) api.Fault {
	f := api.Fault{Name: name, Delay: "1ms"}
	change(&f)
	return f
}

func peersOf(all ...string) func(f *api.Fault) { return func(f *api.Fault) { f.Peers = all } }

func remote(all ...api.PortRange) func(f *api.Fault) {
	return func(f *api.Fault) { f.Ports = &api.Ports{Remote: all} }
}

func local(all ...api.PortRange) func(f *api.Fault) {
	return func(f *api.Fault) { f.Ports = &api.Ports{Local: all} }
}

// Each case is a rule of precedence: of two faults that both match, the first
// named wins, whatever their names say.
func TestTheMorePreciseFaultWins(t *testing.T) {
	packet := fault.Packet{Peer: netip.MustParseAddr("10.1.2.3"), Protocol: "tcp", Remote: 20160, Local: 4000}
	for name, c := range map[string]struct {
		winner, loser func(f *api.Fault)
	}{
		"a longer prefix":                  {peersOf("10.1.2.0/24"), peersOf("10.1.0.0/16")},
		"an address":                       {peersOf("10.1.2.3"), peersOf("10.1.2.2/31")},
		"the shortest prefix before none":  {peersOf("0.0.0.0/0"), func(*api.Fault) {}},
		"a prefix before all ports":        {peersOf("10.0.0.0/8"), func(f *api.Fault) { f.Ports = &api.Ports{Remote: singlePort(20160), Local: singlePort(4000)} }},
		"ports on both sides":              {func(f *api.Fault) { f.Ports = &api.Ports{Remote: wide(), Local: wide()} }, remote(port(20160, 20160))},
		"ports on one side before none":    {remote(port(1, 65535)), func(f *api.Fault) { f.Protocol = "tcp" }},
		"fewer remote ports":               {remote(port(20160, 20161)), remote(port(20159, 20161))},
		"remote ports before local":        {remote(port(1, 65535)), local(port(4000, 4000))},
		"fewer local ports":                {local(port(4000, 4000)), local(port(4000, 4001))},
		"a protocol before none":           {func(f *api.Fault) { f.Protocol = "tcp" }, func(*api.Fault) {}},
		"more ports before a protocol":     {remote(port(20160, 20160)), func(f *api.Fault) { f.Ports, f.Protocol = &api.Ports{Remote: wide()}, "tcp" }},
		"the lower of two ranges as wide":  {remote(port(20159, 20160)), remote(port(20160, 20161))},
		"the lower of two local as wide":   {local(port(3999, 4000)), local(port(4000, 4001))},
		"the best of several alternatives": {peersOf("192.0.2.1", "10.1.2.3"), peersOf("10.1.0.0/16", "10.1.2.0/24")},
	} {
		for _, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
			faults := parseSet(t, matching(names[0], c.winner), matching(names[1], c.loser))
			if got := fault.FaultFor(faults, fault.Egress, "eth0", packet); got == nil || got.Name != names[0] {
				t.Errorf("%s: %+v wins, want %q", name, got, names[0])
			}
		}
	}
}

func singlePort(p uint16) []api.PortRange { return []api.PortRange{port(p, p)} }

func wide() []api.PortRange { return []api.PortRange{port(1, 65535)} }

func TestMeetingKnowsDirectionDeviceAndFamily(t *testing.T) {
	faults := parseSet(t,
		matching("in", func(f *api.Fault) { f.Direction = "ingress" }),
		matching("out1", func(f *api.Fault) { f.Device = "eth1" }),
		matching("ping", func(f *api.Fault) { f.Protocol, f.Direction = "icmp", "both" }),
		matching("six", peersOf("::/0")))
	v4, v6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	for _, c := range []struct {
		direction fault.Direction
		device    string
		packet    fault.Packet
		want      string
	}{
		{fault.Ingress, "eth0", fault.Packet{Peer: v4, Protocol: "tcp"}, "in"},
		{fault.Ingress, "eth1", fault.Packet{Peer: v6, Protocol: "udp"}, "in"},
		{fault.Egress, "eth0", fault.Packet{Peer: v4, Protocol: "tcp"}, ""},
		{fault.Egress, "eth1", fault.Packet{Peer: v4, Protocol: "tcp"}, "out1"},
		{fault.Egress, "eth0", fault.Packet{Peer: v4, Protocol: "icmp"}, "ping"},
		{fault.Ingress, "eth0", fault.Packet{Peer: v6, Protocol: "icmp"}, "ping"},
		{fault.Egress, "eth1", fault.Packet{Peer: v6, Protocol: "icmp"}, "six"}, // a prefix goes before a protocol
		{fault.Egress, "eth0", fault.Packet{Peer: v6, Protocol: "tcp", Remote: 1, Local: 2}, "six"},
	} {
		name := ""
		if got := fault.FaultFor(faults, c.direction, c.device, c.packet); got != nil {
			name = got.Name
		}
		if name != c.want {
			t.Errorf("%s on %s: %+v meets %q, want %q", c.direction, c.device, c.packet, name, c.want)
		}
	}
}

func TestRulesAreTheSameInAnyOrder(t *testing.T) {
	g := newGenerator(3)
	for range 200 {
		faults := randomSet(t, g, fault.MaxFaults)
		want := fault.Rules(faults, fault.Egress, "eth0")
		shuffled := slices.Clone(faults)
		g.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := fault.Rules(shuffled, fault.Egress, "eth0"); !slices.Equal(got, want) {
			t.Fatalf("%v\nin another order: %v", want, got)
		}
		for _, rule := range want {
			if (rule.Remote != api.PortRange{} || rule.Local != api.PortRange{}) && rule.Protocol != 6 && rule.Protocol != 17 {
				t.Fatalf("%s has ports and protocol number %d", rule.Term, rule.Protocol)
			}
		}
	}
}

func TestConflicts(t *testing.T) {
	both := func(f *api.Fault) { f.Direction = "both" }
	for name, c := range map[string]struct {
		a, b     func(f *api.Fault)
		conflict bool
	}{
		"everything twice":             {func(*api.Fault) {}, func(*api.Fault) {}, true},
		"both and egress":              {both, func(*api.Fault) {}, true},
		"egress and ingress":           {func(*api.Fault) {}, func(f *api.Fault) { f.Direction = "ingress" }, false},
		"two devices":                  {func(f *api.Fault) { f.Device = "eth0" }, func(f *api.Fault) { f.Device = "eth1" }, false},
		"a device and all":             {func(f *api.Fault) { f.Device = "eth0" }, func(*api.Fault) {}, true},
		"one peer in common":           {peersOf("10.0.0.1", "10.0.0.2"), peersOf("10.0.0.2", "10.0.0.3"), true},
		"the same network":             {peersOf("10.0.0.1/24"), peersOf("10.0.0.2/24"), true},
		"a network and an address":     {peersOf("10.0.0.0/24"), peersOf("10.0.0.1"), false},
		"an address written otherwise": {peersOf("::ffff:10.0.0.1"), peersOf("10.0.0.1/32"), true},
		"two families":                 {peersOf("0.0.0.0/0"), peersOf("::/0"), false},
		"a port in common":             {remote(port(1, 1), port(2, 2)), remote(port(2, 2)), true},
		"ranges that overlap":          {remote(port(1, 5)), remote(port(2, 6)), false},
		"local and remote":             {remote(port(1, 1)), local(port(1, 1)), false},
		"TCP and a port":               {func(f *api.Fault) { f.Ports, f.Protocol = &api.Ports{Remote: singlePort(1)}, "tcp" }, remote(port(1, 1)), true},
		"TCP and UDP":                  {func(f *api.Fault) { f.Protocol = "tcp" }, func(f *api.Fault) { f.Protocol = "udp" }, false},
		"TCP and everything":           {func(f *api.Fault) { f.Protocol = "tcp" }, func(*api.Fault) {}, false},
	} {
		_, err := fault.ParseSet([]api.Fault{matching("x", c.a), matching("y", c.b)}, limits())
		var conflict fault.Conflict
		if found := errors.As(err, &conflict); found != c.conflict || !found && err != nil {
			t.Errorf("%s: %v, want a conflict: %t", name, err, c.conflict)
			continue
		}
		if c.conflict && (conflict.A != "x" || conflict.B != "y" || conflict.Packets == "") {
			t.Errorf("%s: %+v", name, conflict)
		}
	}
}

func TestRulesOfOneFault(t *testing.T) {
	faults := parseSet(t, api.Fault{Name: "a", Delay: "1ms", Peers: []string{"fd00::/64", "10.0.0.1"}, Ports: &api.Ports{Remote: []api.PortRange{port(5, 9), port(1, 1)}}})
	var got []string
	for _, rule := range fault.Rules(faults, fault.Egress, "eth0") {
		got = append(got, rule.String())
	}
	want := []string{
		"all IPv6 TCP with peer fd00::/64 remote port 1",
		"all IPv6 UDP with peer fd00::/64 remote port 1",
		"all IPv6 TCP with peer fd00::/64 remote port 5-9",
		"all IPv6 UDP with peer fd00::/64 remote port 5-9",
		"all IPv4 TCP with peer 10.0.0.1/32 remote port 1",
		"all IPv4 UDP with peer 10.0.0.1/32 remote port 1",
		"all IPv4 TCP with peer 10.0.0.1/32 remote port 5-9",
		"all IPv4 UDP with peer 10.0.0.1/32 remote port 5-9",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if ingress := fault.Rules(faults, fault.Ingress, "eth0"); len(ingress) != 0 {
		t.Errorf("for ingress: %v", ingress)
	}
}
