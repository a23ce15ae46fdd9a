//go:build kernel

package kernel

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// A constant delay must not reorder: a timer for each packet does, and TCP
// falls to 2 Mbit/s. The same goes for late acknowledgements, and for what
// arrives.
func TestTCPStreamUnderDelay(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	for _, h := range []*netlab.Host{l.pod, l.bystander} {
		h.Listen(t, ":5001", netlab.Swallow)
	}
	for _, c := range []struct {
		what, direction string
		from            *netlab.Host
		to              string
	}{
		{"what leaves", "egress", l.pod, l.bystander.IP},
		{"what leaves, over IPv6", "egress", l.pod, l.bystander.IP6},
		{"its acknowledgements", "ingress", l.pod, l.bystander.IP},
		{"what arrives", "ingress", l.bystander, l.pod.IP},
	} {
		a.apply(api.Fault{Name: "latency", Delay: "20ms", Direction: c.direction})
		wantStream(t, c.what, c.from, c.to)
		if got := a.fault("latency").Counters; got.Packets == 0 || got.Overlimits > 0 {
			t.Errorf("%s: counters %+v", c.what, got)
		}
	}
	a.stop(syscall.SIGKILL)
	wantStream(t, "while the agent is dead", l.bystander, l.pod.IP)
}

// wantStream wants one TCP stream to carry what a delay of 20 ms allows.
func wantStream(t *testing.T, what string, from *netlab.Host, to string) {
	t.Helper()
	netlab.Retry(t, what, func() error {
		rate := from.StreamRate(t, net.JoinHostPort(to, "5001"), time.Second, time.Second)
		t.Logf("%s: %.0f Mbit/s", what, rate/1e6)
		if rate < machine.Stream {
			return fmt.Errorf("one TCP stream under 20ms carries %.0f Mbit/s, want at least %.0f", rate/1e6, machine.Stream/1e6)
		}
		return nil
	})
}

// A link of 5 Mbit/s has a queue of half a second of full packets; what comes
// beyond is dropped and counted. TCP, whose segments are large, fills a link.
func TestRateHasAQueue(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	if reason := a.lacks("rate"); reason != "" {
		wantLacking(t, a, "rate", reason, api.Fault{Name: "link", Rate: &api.Rate{PerSecond: "5mbit"}})
		return
	}
	const places, size = 206, 1472 // full frames
	f := udp(l.pod, l.bystander, 300)
	f.Burst, f.Pace, f.Size, f.Settle = 300, time.Millisecond, size, time.Second
	netlab.Retry(t, "a burst", func() error {
		a.apply() // counters start anew
		a.apply(only(f, api.Fault{Rate: &api.Rate{PerSecond: "5mbit"}}))
		got := f.Run(t)
		passed, dropped := len(got.Arrivals), a.fault("measured").Counters.Dropped
		sent := sentWithin(got) // meanwhile the link empties its queue
		left := int(sent.Seconds() * 5e6 / 8 / (size + 42))
		if passed < places || passed > places+left+32 || dropped != uint64(got.Sent-passed) || got.Reordered() > 0 {
			return fmt.Errorf("%d of %d passed, %d were dropped, want %d to pass, and the %d that leave within the %s of sending", passed, got.Sent, dropped, places, left, sent)
		}
		return nil
	})
	l.bystander.Listen(t, ":5001", netlab.Swallow)
	a.apply(api.Fault{Name: "link", Rate: &api.Rate{PerSecond: "50mbit"}})
	netlab.Retry(t, "a TCP stream", func() error {
		rate := l.pod.StreamRate(t, net.JoinHostPort(l.bystander.IP, "5001"), time.Second, 3*time.Second)
		if rate < 40e6 || rate > 55e6 {
			return fmt.Errorf("it carries %.1f Mbit/s over a link of 50", rate/1e6)
		}
		return nil
	})
}

// sentWithin returns the time between sending the first and the last of what
// arrived.
func sentWithin(got netlab.Traffic) time.Duration {
	if len(got.Arrivals) == 0 {
		return 0
	}
	first, last := got.Arrivals[0], got.Arrivals[len(got.Arrivals)-1]
	return (last.At - last.Delay) - (first.At - first.Delay)
}
