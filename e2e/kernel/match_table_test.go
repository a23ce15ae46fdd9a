//go:build kernel

package kernel

import (
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Each dimension of a match, in the lab where the bystander has many
// addresses. Flows go from the pod to the bystander unless they say else.
func TestMatches(t *testing.T) {
	a := startAgent(t)
	for _, group := range [][]match{directionMatches(a.lab), peerMatches(a.lab), portMatches(a.lab), precedence(a.lab)} {
		for _, m := range group {
			t.Run(m.name, func(t *testing.T) { m.test(t, a) })
		}
	}
}

func directionMatches(l *lab) []match {
	out, out6 := trickle(l.pod, l.bystander, 7000), trickle(l.pod, l.bystander, 7000, overV6)
	in, in6 := trickle(l.bystander, l.pod, 7000), trickle(l.bystander, l.pod, 7000, overV6)
	beside := trickle(l.node, l.bystander, 7100)
	return []match{
		{name: "egress", faults: delayed(api.Fault{}), met: met(out, out6), spared: []flow{in, in6, beside}},
		{name: "ingress", faults: delayed(api.Fault{Direction: "ingress"}), met: met(in, in6), spared: []flow{out, out6, beside}},
		{name: "both", faults: delayed(api.Fault{Direction: "both"}), met: met(in, in6, out, out6), spared: []flow{beside}},
		{name: "device", faults: delayed(api.Fault{Device: "eth0"}), met: met(out, out6), spared: []flow{in, beside}},
	}
}

func peerMatches(l *lab) []match {
	x, x6 := l.bystander.More, l.bystander.More6
	to := func(ip string) flow { return trickle(l.pod, l.bystander, 7000, toAddress(ip)) }
	from := func(ip string, port int) flow { return trickle(l.bystander, l.pod, port, fromAddress(ip)) }
	from6 := func(ip string, port int) flow { return trickle(l.bystander, l.pod, port, fromAddress(ip), overV6) }
	back := trickle(l.bystander, l.pod, 7200, fromAddress(x[0]))
	return []match{
		{
			name: "peers by address", faults: delayed(api.Fault{Peers: []string{x[0], x6[0], x[3]}}),
			met: met(to(x[0]), to(x6[0]), to(x[3])), spared: []flow{to(x[1]), to(x6[1]), to(l.bystander.IP), back},
		},
		{
			// 10.99.0.16 to .19 and fd99::10 to ::13
			name: "peers by CIDR", faults: delayed(api.Fault{Peers: []string{"10.99.0.18/30", "fd99::12/126"}}),
			met: met(to(x[0]), to(x[3]), to(x6[0]), to(x6[3])), spared: []flow{to(x[4]), to(x6[4]), to(l.bystander.IP), back},
		},
		{
			name: "an IPv4 peer only", faults: delayed(api.Fault{Peers: []string{"0.0.0.0/0"}}),
			met: met(to(x[0])), spared: []flow{to(x6[0]), back},
		},
		{
			name: "peers of what arrives", faults: delayed(api.Fault{Direction: "ingress", Peers: []string{x[0], x6[0]}}),
			met: met(from(x[0], 7000), from6(x6[0], 7000)), spared: []flow{from(x[1], 7100), from6(x6[1], 7100), to(x[0])},
		},
	}
}

func ports(ranges ...api.PortRange) []api.PortRange { return ranges }

func portMatches(l *lab) []match {
	port := func(port int, change ...func(*flow)) flow { return trickle(l.pod, l.bystander, port, change...) }
	in := func(port int, change ...func(*flow)) flow { return trickle(l.bystander, l.pod, port, change...) }
	some := ports(api.PortRange{First: 7000, Last: 7000}, api.PortRange{First: 7011, Last: 7013})
	one := ports(api.PortRange{First: 7050, Last: 7050})
	x := l.bystander.More
	return []match{
		{
			name: "remote ports", faults: delayed(api.Fault{Ports: &api.Ports{Remote: some}}),
			met:    met(port(7000), port(7011), port(7013), port(7012, overV6)),
			spared: []flow{port(7001), port(7010), port(7014), port(7010, overV6), in(7000), port(7002, fromPort(7011))},
		},
		{
			name: "local ports", faults: delayed(api.Fault{Ports: &api.Ports{Local: some}}),
			met:    met(port(7100, fromPort(7000)), port(7101, fromPort(7012)), port(7102, fromPort(7000), overV6)),
			spared: []flow{port(7000), port(7012), port(7103, fromPort(7014)), in(7013)},
		},
		{
			name: "ports of what arrives", faults: delayed(api.Fault{Direction: "ingress", Ports: &api.Ports{Local: some}}),
			met:    met(in(7000), in(7012), in(7013, overV6)),
			spared: []flow{in(7014), in(7010, overV6), in(7100, fromPort(7012)), port(7000), port(7101, fromPort(7011))},
		},
		{
			name: "a port on both sides", faults: delayed(api.Fault{Protocol: "udp", Ports: &api.Ports{Local: one, Remote: some}}),
			met:    met(port(7000, fromPort(7050))),
			spared: []flow{port(7011), port(7100, fromPort(7050), overV6)},
		},
		{
			name: "peer and port and protocol", faults: delayed(api.Fault{Protocol: "udp", Peers: []string{x[0]}, Ports: &api.Ports{Remote: some}}),
			met:    met(port(7000, toAddress(x[0]))),
			spared: []flow{port(7000), port(7100, toAddress(x[0])), port(7012, overV6)},
		},
		{
			name: "another protocol", faults: delayed(api.Fault{Protocol: "tcp", Direction: "both"}),
			spared: []flow{port(7000), port(7000, overV6), in(7001)},
		},
	}
}

// precedence has faults that match the same packets: the most precise wins.
func precedence(l *lab) []match {
	x, x6 := l.bystander.More, l.bystander.More6
	to := func(ip string, port, times int) metFlow {
		return metFlow{trickle(l.pod, l.bystander, port, toAddress(ip), settled(5*machine.Marking)), time.Duration(times) * machine.Marking}
	}
	times := func(n int) string { return (time.Duration(n) * machine.Marking).String() }
	one := &api.Ports{Remote: ports(api.PortRange{First: 7000, Last: 7000})}
	back := trickle(l.bystander, l.pod, 7200)
	return []match{
		{
			name: "a host before its net before the rest",
			faults: []api.Fault{
				{Name: "host", Delay: times(1), Peers: []string{x[0], x6[0]}},
				{Name: "latency", Delay: times(2)},
				{Name: "net", Delay: times(3), Peers: []string{"10.99.0.16/28", "fd99::10/124"}},
			},
			met: []metFlow{
				to(x[0], 7000, 1), to(x6[0], 7000, 1), to(x[1], 7000, 3), to(x6[1], 7000, 3),
				to(l.bystander.IP, 7000, 2), to(l.bystander.IP6, 7000, 2),
			},
			spared: []flow{back},
		},
		{
			name: "a port before none, a protocol before none, a peer before a port",
			faults: []api.Fault{
				{Name: "latency", Delay: times(1)},
				{Name: "peer", Delay: times(4), Peers: []string{x[0]}},
				{Name: "port", Delay: times(2), Ports: one},
				{Name: "protocol", Delay: times(3), Protocol: "udp"},
			},
			met:    []metFlow{to(x[0], 7000, 4), to(x[1], 7000, 2), to(x6[1], 7000, 2), to(x[1], 7100, 3)},
			spared: []flow{back},
		},
	}
}
