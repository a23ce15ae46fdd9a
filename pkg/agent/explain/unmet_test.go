package explain_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/explain"
	"github.com/tidelay/tidelay/pkg/fault"
)

func ports(remote, local []uint16) *api.Ports {
	ranges := func(all []uint16) (list []api.PortRange) {
		for _, port := range all {
			list = append(list, api.PortRange{First: port, Last: port})
		}
		return list
	}
	return &api.Ports{Remote: ranges(remote), Local: ranges(local)}
}

func addrs(all ...string) (list []netip.Addr) {
	for _, one := range all {
		list = append(list, netip.MustParseAddr(one))
	}
	return list
}

func TestUnmet(t *testing.T) {
	const (
		loopback = "loopback is never touched"
		own      = "an address of the pod itself, whose packets cross loopback, which is never touched"
		control  = "it is the agent's own TCP port, which is never touched"
		probes   = "kubelet's probes come from these peers to these ports, and are never touched"
	)
	lo := addrs("127.0.0.1", "::1")
	v4, v6, linkLocal := addrs("10.0.0.5"), addrs("fd00::5"), addrs("fe80::5")
	both := append(append(append(lo, v4...), v6...), linkLocal...)
	exempt := fault.Exemption{ControlPort: 2332, NodeAddrs: addrs("10.0.0.1", "fd00::1"), ProbePorts: []uint16{4000, 8080}}
	for name, c := range map[string]struct {
		fault api.Fault
		own   []netip.Addr
		want  []string
	}{
		"everything":     {api.Fault{}, both, nil},
		"other peers":    {api.Fault{Peers: []string{"10.0.0.6", "fd00::6", "10.0.0.0/24", "0.0.0.0/0", "::/0", "fe80::6"}}, both, nil},
		"own":            {api.Fault{Peers: []string{"10.0.0.5"}}, both, []string{`fault "a" meets no packet: peers 10.0.0.5: ` + own}},
		"own, IPv6":      {api.Fault{Peers: []string{"fd00::5", "fe80::5"}}, both, []string{`fault "a" meets no packet: peers fd00::5 or fe80::5: ` + own}},
		"own and others": {api.Fault{Peers: []string{"10.0.0.5", "10.0.0.6"}}, both, []string{`fault "a": no packet matches peers 10.0.0.5: ` + own}},
		"loopback and own": {api.Fault{Direction: "ingress", Peers: []string{"127.0.0.0/8", "::1", "10.0.0.5"}}, both, []string{
			`fault "a" meets no packet: peers 10.0.0.5: ` + own, `fault "a" meets no packet: peers 127.0.0.0/8 or ::1: ` + loopback,
		}},
		"more than loopback": {api.Fault{Peers: []string{"126.0.0.0/7", "::/127"}}, both, nil},
		"no address": {api.Fault{Peers: []string{"0.0.0.0", "::"}}, both, []string{
			`fault "a" meets no packet: peers 0.0.0.0: that is a single address, which no peer has; all of the family are 0.0.0.0/0`,
			`fault "a" meets no packet: peers ::: that is a single address, which no peer has; all of the family are ::/0`,
		}},
		"multicast, leaving":  {api.Fault{Direction: "both", Peers: []string{"224.0.0.1", "ff02::1"}}, both, nil},
		"multicast, arriving": {api.Fault{Direction: "ingress", Peers: []string{"224.0.0.1"}}, both, []string{`fault "a" meets no packet: peers 224.0.0.1: no packet arrives from a multicast address`}},
		"no IPv6":             {api.Fault{Peers: []string{"fd00::/8", "10.0.0.6"}}, append(lo, v4...), []string{`fault "a": no packet matches peers fd00::/8: the pod has no IPv6 address`}},
		"no IPv4":             {api.Fault{Peers: []string{"10.0.0.6"}}, append(lo, v6...), []string{`fault "a" meets no packet: peers 10.0.0.6: the pod has no IPv4 address`}},
		"link-local alone": {api.Fault{Peers: []string{"fd00::6", "fe80::6", "ff02::1", "::/0"}}, append(lo, linkLocal...), []string{
			`fault "a": no packet matches peers fd00::6: the pod has no IPv6 address but link-local ones`,
		}},
		"control port":            {api.Fault{Protocol: "tcp", Ports: ports([]uint16{2332}, nil)}, both, []string{`fault "a" meets no packet: ports.remote 2332: ` + control}},
		"control port, local":     {api.Fault{Protocol: "tcp", Ports: ports(nil, []uint16{2332})}, both, []string{`fault "a" meets no packet: ports.local 2332: ` + control}},
		"control port of TCP":     {api.Fault{Ports: ports(nil, []uint16{2332})}, both, []string{`fault "a" meets no TCP packet: ports.local 2332: ` + control}},
		"control port of UDP":     {api.Fault{Protocol: "udp", Ports: ports(nil, []uint16{2332})}, both, nil},
		"control port and others": {api.Fault{Protocol: "tcp", Ports: ports([]uint16{2332, 4000}, nil)}, both, []string{`fault "a": no packet matches ports.remote 2332: ` + control}},
		"range with control port": {api.Fault{Ports: &api.Ports{Remote: []api.PortRange{{First: 2000, Last: 3000}}}}, both, nil},
		"probes": {
			api.Fault{Protocol: "tcp", Peers: []string{"10.0.0.1", "fd00::1"}, Ports: ports(nil, []uint16{4000})},
			both,
			[]string{`fault "a" meets no packet: ports.local 4000: ` + probes},
		},
		"probes and others": {api.Fault{Peers: []string{"10.0.0.0/24"}, Ports: ports(nil, []uint16{4000})}, both, nil},
		"another port":      {api.Fault{Peers: []string{"10.0.0.1"}, Ports: ports(nil, []uint16{4000, 4001})}, both, nil},
	} {
		c.fault.Delay = "20ms"
		if diff := cmp.Diff(append([]string{}, c.want...), explain.Unmet([]fault.Fault{parse(t, c.fault)}, c.own, exempt)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}
