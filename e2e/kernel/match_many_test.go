//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// A fault for one protocol is none for another, in either family.
func TestProtocols(t *testing.T) {
	const slow = 60 * time.Millisecond
	a := startAgent(t)
	l := a.lab
	l.bystander.Listen(t, ":4000", netlab.Discard)
	datagrams := func() time.Duration {
		got := trickle(l.pod, l.bystander, 7000).Run(t)
		if len(got.Lost()) > 0 {
			t.Errorf("%d of %d datagrams lost", len(got.Lost()), got.Sent)
		}
		return machine.Typical(got.Delays())
	}
	for _, protocol := range []string{"icmp", "tcp", "udp"} {
		t.Run(protocol, func(t *testing.T) {
			a.t = t
			a.apply(api.Fault{Name: "met", Delay: slow.String(), Protocol: protocol})
			defer a.apply()
			netlab.Retry(t, protocol, func() error {
				for what, measured := range map[string]struct {
					protocol string
					took     time.Duration
				}{
					"ping":           {"icmp", rtt(t, l.pod, l.bystander.IP)},
					"ping over IPv6": {"icmp", rtt(t, l.pod, l.bystander.IP6)},
					"TCP":            {"tcp", l.pod.ConnectTime(t, net.JoinHostPort(l.bystander.IP, "4000"))},
					"TCP over IPv6":  {"tcp", l.pod.ConnectTime(t, net.JoinHostPort(l.bystander.IP6, "4000"))},
					"UDP":            {"udp", datagrams()},
				} {
					if hit := measured.took >= slow; hit != (measured.protocol == protocol) || measured.took > slow*4/3+machine.Lag {
						return fmt.Errorf("%s took %s", what, measured.took)
					}
				}
				return nil
			})
		})
	}
}

// twelve faults, each for one address of the bystander in each family.
func twelve(l *lab, first time.Duration) []api.Fault {
	var faults []api.Fault
	for i := range 12 {
		faults = append(faults, api.Fault{
			Name: fmt.Sprintf("f%02d", i), Peers: []string{l.bystander.More[i], l.bystander.More6[i]},
			Delay: (first + time.Duration(i)*10*time.Millisecond).String(),
		})
	}
	return faults
}

func TestTwelveFaultsAtOnce(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	const first = 20 * time.Millisecond
	rest := trickle(l.pod, l.bystander, 7100)
	netlab.Retry(t, "twelve faults", func() error {
		a.apply(twelve(l, first)...)
		defer a.apply()
		var flows []flow
		var ends []func() (netlab.Traffic, error)
		for i := range 12 {
			flows = append(flows, trickle(l.pod, l.bystander, 7000, toAddress(l.bystander.More[i])),
				trickle(l.pod, l.bystander, 7000, toAddress(l.bystander.More6[i]), overV6))
		}
		for i := range flows {
			flows[i].Pace, flows[i].Settle = 15*machine.SteadyPace, 300*time.Millisecond
			ends = append(ends, flows[i].Start())
		}
		beside, err := rest.Start()()
		if err == nil {
			err = undisturbed(rest, beside)
		}
		for i, end := range ends {
			got, failed := end()
			want := first + time.Duration(i/2)*10*time.Millisecond
			// None may be early. Half of them may be late, because one CPU sends and
			// receives all flows.
			least, quarter := netlab.Quantile(got.Delays(), 0), netlab.Quantile(got.Delays(), 0.25)
			if failed == nil && (len(got.Arrivals) != got.Sent || least < want || quarter > want+machine.Lag+8*time.Millisecond) {
				failed = fmt.Errorf("%s: %d of %d came, want them after %s: %v", flows[i], len(got.Arrivals), got.Sent, want, got.Delays())
			}
			err = errors.Join(err, failed)
		}
		// The order in which they are named means nothing.
		backward := twelve(l, first)
		slices.Reverse(backward)
		for _, change := range a.apply(backward...).Changes {
			if change.Action != "keep" {
				err = errors.Join(err, fmt.Errorf("%s in another order: %s", change.Name, change.Action))
			}
		}
		return err
	})
}

// One packet meets one fault, so two that are just as precise are refused,
// whole and without touching what is there.
func TestConflictsAreRefused(t *testing.T) {
	netlab.EngineIndependent(t)
	a := startAgent(t)
	peer := a.lab.bystander.IP
	port := func(first, last uint16) *api.Ports {
		return &api.Ports{Remote: ports(api.PortRange{First: first, Last: last})}
	}
	a.apply(api.Fault{Name: "kept", Delay: "1ms", Peers: []string{peer}})
	for name, two := range map[string][2]api.Fault{
		"everything twice":    {{}, {Direction: "both"}},
		"the same peer":       {{Peers: []string{peer, "192.0.2.1"}}, {Peers: []string{peer}}},
		"the same peer, CIDR": {{Peers: []string{peer + "/32"}}, {Peers: []string{peer}}},
		"the same ports":      {{Ports: port(10, 20)}, {Ports: port(10, 20), Protocol: "tcp"}},
	} {
		t.Run(name, func(t *testing.T) {
			a.t = t
			one, other := two[0], two[1]
			one.Name, one.Delay, other.Name, other.Delay = "one", "1ms", "other", "2ms"
			problem := a.refused(http.StatusConflict, one, other)
			if !strings.Contains(problem.Detail, `"one"`) || !strings.Contains(problem.Detail, `"other"`) {
				t.Errorf("the detail does not name both faults: %s", problem.Detail)
			}
		})
	}
	a.t = t
	var problem api.Problem
	a.send(http.MethodPut, api.PathFaults+"/second", fmt.Sprintf(`{"peers":[%q],"delay":"2ms"}`, peer), http.StatusConflict, &problem)
	a.wantHeld(1)
}

// A fault for one of two interfaces leaves the other alone; one for none in
// particular is on both.
func TestDevices(t *testing.T) {
	l := theLab
	const podIP, peerIP = "10.98.0.2", "10.98.0.3"
	netlab.Connect(t, "eth1", l.pod, podIP+"/24", l.bystander, peerIP+"/24")
	a := startAgent(t, "--device=eth0,eth1")
	for _, c := range []struct {
		direction, device string
		first, second     time.Duration
	}{
		{"egress", "eth1", 0, machine.Marking},
		{"egress", "eth0", machine.Marking, 0},
		{"ingress", "eth1", 0, machine.Marking},
		{"both", "", 2 * machine.Marking, 2 * machine.Marking},
	} {
		t.Run(c.direction+" "+c.device, func(t *testing.T) {
			a.t = t
			a.apply(api.Fault{Name: "met", Device: c.device, Direction: c.direction, Delay: machine.Marking.String()})
			defer a.apply()
			netlab.Retry(t, "devices", func() error {
				// From outside: ping takes the time of a reply where it comes in,
				// which is before nfqueue's delay of what arrives.
				for to, want := range map[string]time.Duration{l.pod.IP: c.first, podIP: c.second} {
					p := l.bystander.Ping(t, to, 10, interval)
					if p.Received != p.Sent || p.Least < want || machine.Typical(p.RTT) > want+machine.Marking/3 {
						return fmt.Errorf("ping %s: %d of %d, median %s, want %s", to, p.Received, p.Sent, p.Median(), want)
					}
				}
				return nil
			})
		})
	}
	a.t = t
	problem := a.refused(http.StatusBadRequest, api.Fault{Name: "met", Device: "eth7", Delay: "1ms"})
	if len(problem.Errors) != 1 || problem.Errors[0].Field != "faults[0].device" || !strings.Contains(problem.Errors[0].Accepted, "eth0, eth1") {
		t.Errorf("a device that is not there: %+v", problem)
	}
}
