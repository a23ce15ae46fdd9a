package fault_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// randomSet returns faults without a conflict.
func randomSet(t *testing.T, g generator, most int) []fault.Fault {
	t.Helper()
	var all []fault.Fault
	for i := range most {
		f := api.Fault{Name: fmt.Sprintf("f%d", i), Delay: "1ms"}
		g.match(&f)
		parsed, err := fault.Parse(f, limits())
		if err != nil {
			t.Fatal(err)
		}
		if with, err := fault.NewSet(append(slices.Clone(all), parsed)); err == nil {
			all = with
		}
	}
	return all
}

// candidate is one combination of a match's alternatives that a packet meets:
// what the documentation of Rules goes by, from the first to the last.
type candidate struct {
	name string
	rank []int
}

// naive lists all that match, the slow way: from the matches, not the rules.
func naive(faults []fault.Fault, direction fault.Direction, device string, p fault.Packet) []candidate {
	var all []candidate
	for _, f := range faults {
		m := f.Match
		if !m.Direction.Has(direction) || m.Device != "" && m.Device != device || m.Protocol != "" && m.Protocol != p.Protocol {
			continue
		}
		portless := len(m.LocalPorts)+len(m.RemotePorts) == 0
		if !portless && p.Protocol == "icmp" {
			continue
		}
		protocol := 0
		if m.Protocol == "" && portless {
			protocol = 1
		}
		for _, prefix := range lengths(m.Peers, p.Peer) {
			for _, remote := range widths(m.RemotePorts, p.Remote) {
				for _, local := range widths(m.LocalPorts, p.Local) {
					sides := min(len(m.RemotePorts), 1) + min(len(m.LocalPorts), 1)
					all = append(all, candidate{f.Name, []int{-prefix, -sides, remote[0], local[0], protocol, remote[1], local[1]}})
				}
			}
		}
	}
	return all
}

// lengths has the lengths of the prefixes that an address is in.
func lengths(prefixes []netip.Prefix, peer netip.Addr) []int {
	if len(prefixes) == 0 {
		return []int{-1}
	}
	var all []int
	for _, prefix := range prefixes {
		if prefix.Contains(peer) {
			all = append(all, prefix.Bits())
		}
	}
	return all
}

// widths has the widths and the first ports of the ranges that a port is in.
func widths(ranges []api.PortRange, port uint16) [][2]int {
	if len(ranges) == 0 {
		return [][2]int{{1 << 16, 0}}
	}
	var all [][2]int
	for _, r := range ranges {
		if r.First <= port && port <= r.Last {
			all = append(all, [2]int{int(r.Last) - int(r.First), int(r.First)})
		}
	}
	return all
}

func TestMeetingIsTheBestOfAllThatMatch(t *testing.T) {
	g := newGenerator(4)
	met := 0
	for range 400 {
		faults := randomSet(t, g, 1+g.IntN(fault.MaxFaults))
		for range 50 {
			p := fault.Packet{Protocol: one(g, "tcp", "udp", "icmp")}
			peer, _, _ := strings.Cut(g.peer(), "/")
			p.Peer = netip.MustParseAddr(peer)
			if p.Protocol != "icmp" {
				p.Remote, p.Local = uint16(1+g.IntN(30)), uint16(1+g.IntN(30))
			}
			direction, device := one(g, fault.Egress, fault.Ingress), one(g, "eth0", "eth1")
			all := naive(faults, direction, device, p)
			got := fault.FaultFor(faults, direction, device, p)
			if len(all) == 0 || got == nil {
				if len(all) != 0 || got != nil {
					t.Fatalf("%+v meets %+v, want one of %v", p, got, all)
				}
				continue
			}
			best := slices.MinFunc(all, func(a, b candidate) int { return slices.Compare(a.rank, b.rank) })
			if got.Name != best.name {
				t.Fatalf("%+v meets %q, want %q of %v", p, got.Name, best.name, all)
			}
			met++
		}
	}
	if met < 1_000 {
		t.Errorf("only %d packets met a fault", met)
	}
}
