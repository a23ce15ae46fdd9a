//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// What a fault had stays with none of its successors. The kernel keeps the
// options of a qdisc that a change does not name.
func TestNothingSticks(t *testing.T) {
	a := startAgent(t)
	f := udp(a.lab.pod, a.lab.bystander, 1000)
	f.Unsummed, f.Size = true, 1000
	everything := api.Fault{
		Delay: "30ms", Jitter: "10ms", Distribution: "pareto", Correlation: 20, Loss: lossOf(10), Reorder: &api.Reorder{Percent: 20, Gap: 3},
		Rate: &api.Rate{PerSecond: "50mbit"},
	}
	if a.lacks("corrupt") == "" {
		everything.Corrupt = &api.Chance{Percent: 10}
	}
	if a.lacks("duplicate") == "" {
		everything.Duplicate = &api.Chance{Percent: 10}
	}
	clean := func(wanted time.Duration) func() error {
		return func() error {
			got := f.Run(t)
			err := got.Intact()
			if late := got.Reordered(); late > 0 {
				err = errors.Join(err, fmt.Errorf("%d of %d late", late, got.Sent))
			}
			if middle := machine.Typical(got.Delays()); middle < wanted || middle > wanted+machine.Lag+10*time.Millisecond {
				err = errors.Join(err, fmt.Errorf("median delay %s, want %s", middle, wanted))
			}
			return err
		}
	}
	a.apply(only(f, everything))
	if got := f.Run(t); len(got.Lost()) == 0 {
		t.Error("everything at once loses nothing")
	}
	a.apply(only(f, api.Fault{Delay: "20ms"}))
	netlab.Retry(t, "a delay after everything", clean(20*time.Millisecond))
	a.apply(only(f, everything))
	a.apply(only(f, api.Fault{Loss: lossOf(0.0001)}))
	netlab.Retry(t, "nearly nothing after everything", clean(0))
}

// The table of a normal distribution has tails of four times the jitter. A
// uniform jitter that still used it would show them.
func TestDistributionsDoNotStick(t *testing.T) {
	const delay, jitter = 60 * time.Millisecond, 15 * time.Millisecond
	a := startAgent(t)
	f := udp(a.lab.pod, a.lab.bystander, 600)
	f.Brief = true
	early := func(distribution string) int {
		a.apply(only(f, api.Fault{Delay: delay.String(), Jitter: jitter.String(), Distribution: distribution}))
		count := 0
		for _, d := range f.Run(t).Delays() {
			if d < delay-jitter {
				count++
			}
		}
		return count
	}
	if early("normal") == 0 {
		t.Error("none of 600 datagrams comes more than a normal jitter too early, so that this test proves nothing")
	}
	if n := early("uniform"); n > 0 {
		t.Errorf("%d of 600 datagrams come more than a uniform jitter too early", n)
	}
}

// netem's older options hold 274 s at most, and what is longer wraps.
func TestVeryLongDelays(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	base := rtt(t, l.node, l.pod.IP)
	for _, delay := range []string{"274s", "275s", "300s", "600s"} {
		a.set(delay)
		if f := a.fault("latency"); f.Delay != delay || !f.Held {
			t.Errorf("%s is read back as %+v", delay, f)
		}
		// Many releases of tc print the older option, which ends at 274.9 s.
		shown := a.lab.pod.Exec(t, "tc qdisc show dev eth0")
		if engineName == "netem" && !strings.Contains(shown, "delay "+delay) && (delay == "274s" || !strings.Contains(shown, "delay 275s")) {
			t.Errorf("tc does not show %s:\n%s", delay, shown)
		}
		if p := l.node.PingNobody(t, l.pod.IP, 2, interval); p.Received > 0 {
			t.Errorf("under %s %d pings are answered at once", delay, p.Received)
		}
		start := time.Now()
		a.clear()
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("clearing %s took %s", delay, took)
		}
		wantRTT(t, l.node, "after "+delay, l.pod.IP, base, 0)
	}
}

// What waits for the longer delay may be late, what comes after the change may
// not.
func TestShorteningTakesHoldAtOnce(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	base := rtt(t, l.node, l.pod.IP)
	a.set("60s")
	if p := l.node.PingNobody(t, l.pod.IP, 5, interval); p.Received > 0 {
		t.Errorf("%d pings are answered under 60s", p.Received)
	}
	a.set("1ms")
	if p := l.node.Ping(t, l.pod.IP, 5, interval); p.Received != p.Sent {
		t.Errorf("%d of %d pings are answered once the delay is 1ms", p.Received, p.Sent)
	}
	wantRTT(t, l.node, "after the change", l.pod.IP, base, time.Millisecond)
	other := l.bystander.More[0]
	a.apply(api.Fault{Name: "long", Delay: "60s", Peers: []string{other}}, api.Fault{Name: "short", Delay: "1ms", Peers: []string{l.bystander.IP}})
	wantRTT(t, l.pod, "beside a long one", l.bystander.IP, base, time.Millisecond)
}

// limits of a queue, by its effect: what waits at the rate that one sender
// reaches is dropped by the kernel's default of 1000 packets, and by ours not.
func TestTheQueueHoldsAHighRate(t *testing.T) {
	a := startAgent(t)
	f := udp(a.lab.pod, a.lab.bystander, 8000)
	f.Burst, f.Pace, f.Settle, f.Flood = 1000, time.Millisecond, time.Second, true
	// In 100 ms a sender under User Mode Linux does not always reach 1000.
	const longer = "400ms"
	for _, delay := range []string{"100ms", longer} {
		a.set(delay)
		netlab.Retry(t, delay+" at a high rate", func() error {
			got := f.Run(t)
			if dropped := a.fault("latency").Counters.Dropped; len(got.Lost()) > 0 || dropped > 0 {
				return fmt.Errorf("%d of %d were lost, %d dropped", len(got.Lost()), got.Sent, dropped)
			}
			return nil
		})
	}
	if warnings := a.status().Warnings; len(warnings) > 0 {
		t.Errorf("warnings %q", warnings)
	}
	a.clear()
	if engineName != "netem" {
		return // there is no such control
	}
	pod := a.lab.pod
	pod.Exec(t, "tc qdisc add dev eth0 root netem limit 1000 delay "+longer)
	defer pod.Exec(t, "tc qdisc del dev eth0 root")
	netlab.Retry(t, "the control, a limit of 1000", func() error {
		if got := f.Run(t); len(got.Lost()) == 0 {
			return fmt.Errorf("lost none of %d: the rate is too low to prove anything", got.Sent)
		}
		return nil
	})
}

// The memory that the operator grants is the limit, and the agent says so when
// it is reached: netem then drops packets, nfqueue lets them pass early.
func TestAFullQueueIsReported(t *testing.T) {
	a := startAgent(t, "--queue-memory=1Mi") // 512 packets
	f := udp(a.lab.pod, a.lab.bystander, 2000)
	f.Burst, f.Settle = 200, 2*time.Second
	a.set("1s")
	got := f.Run(t)
	c := a.fault("latency").Counters
	lost, beyond := uint64(len(got.Lost())), c.Overlimits
	if engineName == "netem" {
		beyond = c.Dropped
	}
	if beyond < 1000 || c.Dropped != lost {
		t.Errorf("of 2000 datagrams under 1s with 512 places %d were lost: counters %+v", lost, c)
	}
	warnings := strings.Join(a.status().Warnings, "\n")
	if !strings.Contains(warnings, `fault "latency"`) || !strings.Contains(warnings, strconv.FormatUint(beyond, 10)) || !strings.Contains(warnings, "--queue-memory") {
		t.Errorf("warnings %q do not tell that %d packets found no place", warnings, beyond)
	}
}
