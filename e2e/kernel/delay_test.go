//go:build kernel

package kernel

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// discard is a TCP server that only completes handshakes.
func discard(net.Conn) {}

func TestDelay(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	l.pod.listen(t, 4000, discard)
	target := net.JoinHostPort(l.pod.ip, "4000")
	base, base6 := l.node.rtt(t, l.pod.ip), l.node.rtt(t, l.pod.ip6)
	baseConnect := l.node.connectTime(t, target)

	for _, delay := range []string{"20ms", "500us", "1.5ms", "200ms", "1ms"} {
		t.Run(delay, func(t *testing.T) {
			a.set(delay)
			d, err := time.ParseDuration(delay)
			if err != nil {
				t.Fatal(err)
			}
			l.node.wantRTT(t, "node to pod", l.pod.ip, base+d)
			l.node.wantRTT(t, "node to pod, IPv6", l.pod.ip6, base6+d)
			l.pod.wantRTT(t, "pod to bystander", l.bystander.ip, base+d)
			l.node.wantRTT(t, "node to bystander", l.bystander.ip, base)
			// The SYN-ACK is late, and late once.
			if got := l.node.connectTime(t, target); got < d || got > baseConnect+d+max(d/2, 50*time.Millisecond) {
				t.Errorf("TCP connect took %s under %s, and %s without", got, delay, baseConnect)
			}
		})
	}
	a.clear()
	l.node.wantRTT(t, "after clear", l.pod.ip, base)
	l.node.wantRTT(t, "after clear, IPv6", l.pod.ip6, base6)
}

func TestBareNumberIsMillisecondsAndZeroClears(t *testing.T) {
	a := startAgent(t)
	if answer := a.latency(http.MethodGet, api.PathLatency+"/20"); answer.Fault == nil || answer.Fault.Delay != "20ms" {
		t.Errorf("set 20: fault %+v, want 20ms", answer.Fault)
	}
	if answer := a.latency(http.MethodGet, api.PathLatency); answer.Fault == nil || answer.Fault.Delay != "20ms" {
		t.Errorf("read: fault %+v, want 20ms", answer.Fault)
	}
	for _, zero := range []string{"0", "0ms", "0"} {
		if answer := a.latency(http.MethodGet, api.PathLatency+"/"+zero); answer.Fault != nil {
			t.Errorf("set %s: fault %+v, want none", zero, answer.Fault)
		}
	}
	a.clear() // again, with nothing to clear
}

func TestReplaceLosesNoPing(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	a.set("20ms")
	wait := l.node.startPing(l.pod.ip, 300, 10*time.Millisecond)
	for range 10 {
		a.set("50ms")
		a.set("20ms")
	}
	p, err := wait()
	if err != nil {
		t.Fatal(err)
	}
	if p.received != p.sent {
		t.Errorf("%d of %d pings answered while the delay was replaced 20 times", p.received, p.sent)
	}
	for _, rtt := range p.rtt {
		if rtt < 20*time.Millisecond {
			t.Errorf("a ping took %s: the delay was away for a moment", rtt)
		}
	}
}

func TestClearLetsWaitingPacketsLeave(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	a.set("200ms")
	wait := l.node.startPing(l.pod.ip, 100, 10*time.Millisecond)
	eventually(t, 3*time.Second, "pings wait in the queue", func() error {
		if f := a.status().Faults; len(f) != 1 || f[0].Counters.Backlog == 0 {
			return fmt.Errorf("faults %+v", f)
		}
		return nil
	})
	a.clear()
	p, err := wait()
	if err != nil {
		t.Fatal(err)
	}
	if p.received != p.sent {
		t.Errorf("%d of %d pings answered across a clear", p.received, p.sent)
	}
}

func TestConcurrentSetsLeaveOneFault(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	base := l.node.rtt(t, l.pod.ip)
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
	l.node.wantRTT(t, "after concurrent sets", l.pod.ip, base+want)
	a.clear()
	l.node.wantRTT(t, "after clear", l.pod.ip, base)
}
