package fault_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// overlaps returns "TAKES>LOSES packets" of each overlap.
func overlaps(t *testing.T, faults ...api.Fault) []string {
	t.Helper()
	for i := range faults {
		faults[i].Delay = "1ms"
	}
	set, err := fault.ParseSet(faults, limits())
	if err != nil {
		t.Fatal(err)
	}
	all := []string{}
	for _, o := range fault.Overlaps(set) {
		all = append(all, fmt.Sprintf("%s>%s %s", o.Takes, o.Loses, o.Packets))
	}
	return all
}

func TestOverlaps(t *testing.T) {
	remote := func(ports ...api.PortRange) *api.Ports { return &api.Ports{Remote: ports} }
	for name, c := range map[string]struct {
		faults []api.Fault
		want   []string
	}{
		"one for all and a peer": {
			[]api.Fault{{Name: "a"}, {Name: "b", Peers: []string{"10.0.0.5"}}},
			[]string{"b>a all IPv4 with peer 10.0.0.5/32 of direction egress"},
		},
		"a network and a peer in it, by another port": {
			[]api.Fault{{Name: "a", Peers: []string{"10.0.0.0/8"}, Ports: remote(port(1, 9))}, {Name: "b", Peers: []string{"10.0.0.5"}, Ports: remote(port(10, 10))}}, []string{},
		},
		"ports in part, and one protocol": {
			[]api.Fault{{Name: "a", Ports: remote(port(1, 9))}, {Name: "b", Protocol: "tcp", Ports: remote(port(5, 10))}},
			[]string{"b>a all IPv4 TCP remote port 5-9 of direction egress"},
		},
		"each takes from the other": {
			[]api.Fault{{Name: "a", Peers: []string{"10.0.0.5", "fd00::/64"}}, {Name: "b", Peers: []string{"10.0.0.0/8", "fd00::1"}}},
			[]string{"b>a all IPv6 with peer fd00::1/128 of direction egress", "a>b all IPv4 with peer 10.0.0.5/32 of direction egress"},
		},
		"another direction": {[]api.Fault{{Name: "a", Direction: "ingress"}, {Name: "b", Peers: []string{"10.0.0.5"}}}, []string{}},
		"one direction of both": {
			[]api.Fault{{Name: "a", Direction: "both"}, {Name: "b", Direction: "ingress", Protocol: "icmp"}},
			[]string{"b>a all IPv4 ICMP of direction ingress"},
		},
		"other devices": {[]api.Fault{{Name: "a", Device: "eth0"}, {Name: "b", Device: "eth1", Protocol: "tcp"}}, []string{}},
		"other peers":   {[]api.Fault{{Name: "a", Peers: []string{"10.0.0.4"}}, {Name: "b", Peers: []string{"10.0.0.5", "fd00::1"}}}, []string{}},
	} {
		if diff := cmp.Diff(c.want, overlaps(t, c.faults...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The pairs are those that a comparison of each term with each other one finds.
func TestOverlapsAreComplete(t *testing.T) {
	seen := 0
	for seed := range uint64(3_000) {
		g := newGenerator(seed)
		var wire []api.Fault
		for i := range 2 + g.IntN(4) {
			f := api.Fault{Name: fmt.Sprintf("f%d", i), Delay: "1ms"}
			g.match(&f)
			wire = append(wire, f)
		}
		set, err := fault.ParseSet(wire, limits())
		if err != nil {
			continue // two match the same
		}
		got := make(map[string]bool)
		for _, o := range fault.Overlaps(set) {
			got[o.Takes+">"+o.Loses] = true
		}
		want := compareAll(set)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s\n%+v", seed, diff, wire)
		}
		seen += len(want)
	}
	if seen < 100 {
		t.Errorf("only %d overlaps", seen)
	}
}

func compareAll(set []fault.Fault) map[string]bool {
	all := make(map[string]bool)
	for _, direction := range []fault.Direction{fault.Egress, fault.Ingress} {
		for _, device := range limits().Devices {
			rules := fault.Rules(set, direction, device)
			for i, takes := range rules {
				for _, loses := range rules[i+1:] {
					if takes.Fault != loses.Fault && meet(takes.Term, loses.Term) {
						all[takes.Fault+">"+loses.Fault] = true
					}
				}
			}
		}
	}
	return all
}

// meet reports whether a packet can match both terms.
func meet(a, b fault.Term) bool {
	anyPeer := a.Peer == netip.Prefix{} || b.Peer == netip.Prefix{}
	anyProtocol := a.Protocol == 0 || b.Protocol == 0
	ports := func(a, b api.PortRange) bool {
		return a == api.PortRange{} || b == api.PortRange{} || a.First <= b.Last && b.First <= a.Last
	}
	return a.V6 == b.V6 && (anyPeer || a.Peer.Overlaps(b.Peer)) && (anyProtocol || a.Protocol == b.Protocol) &&
		ports(a.Remote, b.Remote) && ports(a.Local, b.Local)
}

// A set of the largest size is compared at every change, so it must not take long.
func TestOverlapsOfTheLargestSet(t *testing.T) {
	var set []fault.Fault
	for i := range 8 {
		f, err := fault.Parse(api.Fault{Name: fmt.Sprintf("f%d", i), Delay: "1ms", Peers: manyPeers(i, 500)}, limits())
		if err != nil {
			t.Fatal(err)
		}
		set = append(set, f)
	}
	all, err := fault.NewSet(set)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if got := fault.Overlaps(all); len(got) != 0 {
		t.Errorf("overlaps %+v", got)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %s", took)
	}
}

func manyPeers(network, count int) []string {
	var all []string
	for i := range count {
		all = append(all, fmt.Sprintf("10.%d.%d.%d", network, i/250, i%250))
	}
	return all
}

func TestOwnersAreNames(t *testing.T) {
	for owner, accepted := range map[string]bool{
		"": true, "a": true, "shop.slow-stores": true, strings.Repeat("a", 63): true,
		strings.Repeat("a", 64): false, "A": false, "a/b": false, "-a": false, "a b": false, "é": false,
	} {
		_, err := fault.ParseSet([]api.Fault{{Name: "a", Owner: owner, Delay: "1ms"}}, limits())
		if (err == nil) != accepted {
			t.Errorf("owner %q: %v", owner, err)
		}
		if err != nil && !slices.Equal(fields(t, err), []string{"faults[0].owner"}) {
			t.Errorf("owner %q: %v", owner, err)
		}
	}
}
