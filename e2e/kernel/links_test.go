//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Addresses of the pod and the node on a second link, net1.
const (
	net1Pod, net1Node = "192.0.2.2", "192.0.2.1"
	net1Delay         = 20 * time.Millisecond
)

// plugNet1 makes the link.
func plugNet1(t testing.TB, l *lab) {
	t.Helper()
	netlab.Connect(t, "net1", l.pod, net1Pod+"/24", l.node, net1Node+"/24")
}

// unplugNet1 deletes it.
func unplugNet1(t testing.TB, l *lab) {
	t.Helper()
	l.pod.Exec(t, "ip link del net1")
}

// eventuallyDelayed wants pings of the pod's address on net1 to take a delay and
// little more, soon.
func eventuallyDelayed(t testing.TB, l *lab, what string, want time.Duration) {
	t.Helper()
	netlab.Eventually(t, 10*time.Second, what, func() error {
		p := l.node.Ping(t, net1Pod, 5, interval)
		if p.Received != 5 || p.Least < want || machine.Typical(p.RTT) > want+machine.Lag+15*time.Millisecond {
			return fmt.Errorf("%d of 5 pings took %s, want %s", p.Received, p.Median(), want)
		}
		return nil
	})
}

// wantMissing wants the status to name exactly these interfaces as missing.
func (a *agent) wantMissing(want ...string) {
	a.t.Helper()
	netlab.Eventually(a.t, 10*time.Second, "the status names what is missing", func() error {
		status := a.status()
		var missing []string
		for _, d := range status.Devices {
			if d.Missing {
				missing = append(missing, d.Name)
			}
		}
		if warned := strings.Join(status.Warnings, "\n"); !slices.Equal(missing, want) || strings.Count(warned, "is missing") < len(want) {
			return fmt.Errorf("missing are %q, want %q; warnings %q", missing, want, status.Warnings)
		}
		return nil
	})
}

// An interface that is there late, goes, comes again, and flaps, has its faults
// whenever it is there. Nothing waits for it, nor for one that never existed.
func TestAnInterfaceComesBack(t *testing.T) {
	l := theLab
	a := freshAgent(t, "--device=eth0,net1,never")
	a.wantMissing("net1", "never")
	set := func(delay string) {
		t.Helper()
		a.apply(api.Fault{Name: "latency", Direction: "both", Delay: delay})
	}
	set("10ms")
	plugNet1(t, l)
	eventuallyDelayed(t, l, "a late interface", net1Delay)
	a.wantMissing("never")

	unplugNet1(t, l)
	a.wantMissing("net1", "never")
	set("20ms") // eth0 is not blocked
	if p := l.node.Ping(t, l.pod.IP, 5, interval); p.Received != 5 || p.Median() < 2*net1Delay {
		t.Errorf("the other interface: %d pings took %s", p.Received, p.Median())
	}
	plugNet1(t, l)
	eventuallyDelayed(t, l, "an interface that came back", 2*net1Delay)

	for range 50 {
		unplugNet1(t, l)
		plugNet1(t, l)
	}
	eventuallyDelayed(t, l, "an interface that flapped", 2*net1Delay)
	a.wantHeld(1)
	set("10ms")
	eventuallyDelayed(t, l, "another delay after that", net1Delay)
	unplugNet1(t, l)
	a.wantMissing("net1", "never")
}

// A fault goes with the name: a renamed interface has none, until it is named back.
func TestAnInterfaceIsRenamed(t *testing.T) {
	l := theLab
	a := freshAgent(t, "--device=eth0,net1")
	plugNet1(t, l)
	a.apply(api.Fault{Name: "narrow", Direction: "both", Device: "net1", Delay: "10ms"})
	eventuallyDelayed(t, l, "before", net1Delay)
	l.pod.Shell(t, "ip link set net1 down; ip link set net1 name other; ip link set other up")
	eventuallyDelayed(t, l, "under another name", 0)
	a.wantMissing("net1")
	if held := a.status().Faults; len(held) != 1 || held[0].Held {
		t.Errorf("faults %+v, want one that waits", held)
	}
	if p := l.node.Ping(t, net1Pod, 5, interval); machine.Typical(p.RTT) > net1Delay/2 {
		t.Errorf("under another name pings take %s", p.Median())
	}
	l.pod.Shell(t, "ip link set other down; ip link set other name net1; ip link set net1 up")
	eventuallyDelayed(t, l, "under its own name again", net1Delay)
	a.wantHeld(1)
	unplugNet1(t, l)
	a.wantMissing("net1")
}

// What is desired outlives the agent, also when its interface is missing at the
// start of the next one.
func TestAnAgentStartsWithoutAnInterface(t *testing.T) {
	l := theLab
	a := freshAgent(t, "--device=eth0,net1")
	plugNet1(t, l)
	narrow := api.Fault{Name: "narrow", Direction: "both", Device: "net1", Delay: "10ms"}
	a.apply(narrow, api.Fault{Name: "rest", Delay: "5ms", Device: "eth0"})
	a.stop(syscall.SIGKILL)
	unplugNet1(t, l)
	a.start()
	a.wantMissing("net1")
	if left := a.faults(); len(left) != 2 || left[0].Device != "net1" {
		t.Errorf("the next agent has %+v", left)
	}
	plugNet1(t, l)
	eventuallyDelayed(t, l, "an interface that came while another agent ran", net1Delay)
	a.wantHeld(2)
	unplugNet1(t, l)
	a.wantMissing("net1")
}

// An interface that comes with somebody else's root keeps it. The status says so,
// the other interface is not blocked, and faults end.
func TestAnInterfaceComesWithAForeignRoot(t *testing.T) {
	l := theLab
	a := freshAgent(t, "--device=eth0,net1")
	some, other := api.Fault{Name: "some", Delay: "10ms"}, api.Fault{Name: "other", Protocol: "udp", Delay: "5ms"}
	a.apply(some, other)
	netlab.Connect(t, "early", l.pod, net1Pod+"/24", l.node, net1Node+"/24")
	l.pod.Shell(t, "tc qdisc add dev early root handle 1: tbf rate 1gbit burst 100k latency 50ms; ip link set early down; ip link set early name net1; ip link set net1 up")
	a.wantMissing()
	if engineName == "netem" {
		netlab.Eventually(t, 10*time.Second, "the status names the root", func() error {
			if warnings := strings.Join(a.status().Warnings, "\n"); !strings.Contains(warnings, "net1 egress: root qdisc tbf 1:") {
				return fmt.Errorf("warnings %s", warnings)
			}
			return nil
		})
		var problem api.Problem
		a.into(http.MethodGet, api.PathLatency+"/20ms", http.StatusConflict, &problem)
	}
	a.remove("other")
	if p := l.node.Ping(t, l.pod.IP, 5, interval); p.Received != 5 || p.Median() < 10*time.Millisecond {
		t.Errorf("the other interface: %d pings took %s", p.Received, p.Median())
	}
	if shown := l.pod.Exec(t, "tc qdisc show dev net1"); !strings.Contains(shown, "tbf 1: root") {
		t.Errorf("the foreign root is gone: %s", shown)
	}
	l.pod.Exec(t, "tc qdisc del dev net1 root")
	a.apply(some)
	eventuallyDelayed(t, l, "without the foreign root", 10*time.Millisecond)
	l.pod.Exec(t, "ip link del net1")
	a.wantMissing("net1")
}

// A rate is a link of its own on each interface, and in each direction.
func TestARateIsALinkPerInterface(t *testing.T) {
	l := theLab
	a := freshAgent(t, "--device=eth0,net1")
	if reason := a.lacks("rate"); reason != "" {
		wantLacking(t, a, "rate", reason, api.Fault{Name: "link", Rate: &api.Rate{PerSecond: "5mbit"}})
		return
	}
	plugNet1(t, l)
	a.apply(api.Fault{Name: "link", Direction: "both", Protocol: "udp", Rate: &api.Rate{PerSecond: "1mbit"}})
	// What the queue of half a second has room for, each way on each interface. Two
	// on one link would not fit, and would take twice as long.
	const count, size, frame = 35, 1472, 1514
	alone := time.Duration(count * frame * 8 * float64(time.Second) / 1e6)
	var flows []netlab.Flow
	for i, ends := range [][2]*netlab.Host{{l.pod, l.node}, {l.node, l.pod}} {
		to := [][2]string{{l.node.IP, net1Node}, {l.pod.IP, net1Pod}}[i]
		for _, target := range to {
			source := map[string]string{net1Node: net1Pod, net1Pod: net1Node}[target]
			flows = append(flows, netlab.Flow{
				From: ends[0], To: ends[1], Source: source, Target: target, Port: 7000 + len(flows),
				Count: count, Burst: count, Pace: time.Millisecond, Size: size, Settle: 2 * time.Second, Brief: true,
			})
		}
	}
	netlab.Retry(t, "four links", func() error {
		var waits []func() (netlab.Traffic, error)
		for _, f := range flows {
			waits = append(waits, f.Start())
		}
		var problem error
		for i, wait := range waits {
			got, err := wait()
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Arrivals) != count {
				problem = errors.Join(problem, fmt.Errorf("%s to %s: %d of %d arrived", flows[i].From.Name, flows[i].Target, len(got.Arrivals), count))
				continue
			}
			first, last := got.Arrivals[0], got.Arrivals[count-1]
			if took := last.At - (first.At - first.Delay); took < alone*9/10 || took > alone*8/5 {
				problem = errors.Join(problem, fmt.Errorf("%s to %s: all together took %s, want %s", flows[i].From.Name, flows[i].Target, took, alone))
			}
		}
		return problem
	})
	a.apply()
	unplugNet1(t, l)
	a.wantMissing("net1")
}
