//go:build kernel

package kernel

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

func TestDelay(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	l.pod.Listen(t, ":4000", netlab.Discard)
	target := net.JoinHostPort(l.pod.IP, "4000")
	base, base6 := rtt(t, l.node, l.pod.IP), rtt(t, l.node, l.pod.IP6)
	baseConnect := l.node.ConnectTime(t, target)

	for _, delay := range []string{"20ms", "500us", "1.5ms", "200ms", "1ms"} {
		t.Run(delay, func(t *testing.T) {
			a.set(delay)
			d, err := time.ParseDuration(delay)
			if err != nil {
				t.Fatal(err)
			}
			wantRTT(t, l.node, "node to pod", l.pod.IP, base, d)
			wantRTT(t, l.node, "node to pod, IPv6", l.pod.IP6, base6, d)
			wantRTT(t, l.pod, "pod to bystander", l.bystander.IP, base, d)
			wantRTT(t, l.node, "node to bystander", l.bystander.IP, base, 0)
			// The SYN-ACK is late, and late once.
			if got := l.node.ConnectTime(t, target); got < d || got > baseConnect+d+max(d/2, 50*time.Millisecond) {
				t.Errorf("TCP connect took %s under %s, and %s without", got, delay, baseConnect)
			}
		})
	}
	a.clear()
	wantRTT(t, l.node, "after clear", l.pod.IP, base, 0)
	wantRTT(t, l.node, "after clear, IPv6", l.pod.IP6, base6, 0)
}

func TestBareNumberIsMillisecondsAndZeroClears(t *testing.T) {
	a := startAgent(t)
	if answer := a.latency(api.PathLatency + "/20"); answer.Fault == nil || answer.Fault.Delay != "20ms" {
		t.Errorf("set 20: fault %+v, want 20ms", answer.Fault)
	}
	if answer := a.latency(api.PathLatency); answer.Fault == nil || answer.Fault.Delay != "20ms" {
		t.Errorf("read: fault %+v, want 20ms", answer.Fault)
	}
	for _, zero := range []string{"0", "0ms", "0"} {
		if answer := a.latency(api.PathLatency + "/" + zero); answer.Fault != nil {
			t.Errorf("set %s: fault %+v, want none", zero, answer.Fault)
		}
	}
	a.clear() // again, with nothing to clear
}

func TestReplaceLosesNoPing(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	a.set("20ms")
	wait := l.node.StartPing(l.pod.IP, 300, 5*time.Millisecond)
	for range 10 {
		a.set("50ms")
		a.set("20ms")
	}
	p, err := wait()
	if err != nil {
		t.Fatal(err)
	}
	if p.Received != p.Sent {
		t.Errorf("%d of %d pings answered while the delay was replaced 20 times", p.Received, p.Sent)
	}
	for _, rtt := range p.RTT {
		if rtt < 20*time.Millisecond {
			t.Errorf("a ping took %s: the delay was away for a moment", rtt)
		}
	}
}

func TestClearLetsWaitingPacketsLeave(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	for _, c := range []struct {
		name   string
		others []api.Fault
		lost   int // with netem, where the kernel exchanges the queue; see TestFirstAndLast
	}{
		{"one of two", []api.Fault{{Name: "stays", Peers: []string{"192.0.2.1"}, Delay: "1ms"}}, 0},
		{"the last", nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.t = t
			a.apply(c.others...)
			a.set("200ms")
			wait := l.node.StartPing(l.pod.IP, 100, 10*time.Millisecond)
			netlab.Eventually(t, 3*time.Second, "pings wait in the queue", func() error {
				if f := a.fault("latency"); f.Counters.Backlog == 0 {
					return fmt.Errorf("fault %+v", f)
				}
				return nil
			})
			a.clear()
			p, err := wait()
			if err != nil {
				t.Fatal(err)
			}
			if lost := p.Sent - p.Received; lost > c.lost || engineName == "nfqueue" && lost > 0 {
				t.Errorf("%d of %d pings answered across a clear:\n%s", p.Received, p.Sent, p.Text)
			}
		})
	}
	a.t = t
}

func TestConcurrentSetsLeaveOneFault(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	base := rtt(t, l.node, l.pod.IP)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			path := fmt.Sprintf("%s/%dms", api.PathLatency, 20+i%2*30)
			if status, body, err := a.request(path); err != nil || status != http.StatusOK {
				t.Errorf("%s: status %d, %v: %s", path, status, err, body)
			}
		})
	}
	group.Wait()
	held := a.status().Faults
	if len(held) != 1 {
		t.Fatalf("the kernel holds %d faults, want 1", len(held))
	}
	want, err := time.ParseDuration(held[0].Delay)
	if err != nil {
		t.Fatal(err)
	}
	wantRTT(t, l.node, "after concurrent sets", l.pod.IP, base, want)
	a.clear()
	wantRTT(t, l.node, "after clear", l.pod.IP, base, 0)
}
