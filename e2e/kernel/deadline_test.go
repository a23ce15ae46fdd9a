//go:build kernel

package kernel

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// gone waits until no fault is there, and returns when it was seen.
func (a *agent) gone(within time.Duration) time.Time {
	a.t.Helper()
	netlab.Eventually(a.t, within, "the fault ends", func() error {
		if left := a.faults(); len(left) > 0 {
			return fmt.Errorf("%+v", left)
		}
		return nil
	})
	return time.Now()
}

func TestDurationEndsOnTime(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	base := rtt(t, l.node, l.pod.IP)
	before := kernelState(t, l.pod)
	netlab.Retry(t, "a duration of 3s", func() error {
		start := time.Now()
		answer := a.latency(api.PathLatency + "/200ms?duration=3s")
		if answer.ExpiresAt == nil {
			return fmt.Errorf("the answer has no end: %+v", answer)
		}
		end, err := time.Parse(time.RFC3339Nano, *answer.ExpiresAt)
		if err != nil {
			return fmt.Errorf("the answer's end: %w", err)
		}
		if end.Sub(start) > 4*time.Second || end.Sub(start) < 2*time.Second {
			return fmt.Errorf("the answer's end is %s", *answer.ExpiresAt)
		}
		if p := l.node.Ping(t, l.pod.IP, 3, interval); p.Median() < 200*time.Millisecond {
			return fmt.Errorf("a ping takes %s", p.Median())
		}
		took := a.gone(10 * time.Second).Sub(start)
		if took < 2*time.Second || took > 4*time.Second {
			return fmt.Errorf("it ended after %s", took)
		}
		return nil
	})
	wantRTT(t, l.node, "after the end", l.pod.IP, base, 0)
	if after := kernelState(t, l.pod); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// Each fault ends by itself; the others stay.
func TestDeadlinesSurviveKill(t *testing.T) {
	netlab.EngineIndependent(t)
	a := startAgent(t)
	x := a.lab.bystander.More
	start := time.Now()
	a.apply(
		api.Fault{Name: "long", Delay: "20ms", Peers: []string{x[0]}, Duration: "1h"},
		api.Fault{Name: "short", Delay: "20ms", Peers: []string{x[1]}, Duration: "5s"},
	)
	want := encode(t, a.faults()...)
	a.stop(syscall.SIGKILL)
	a.start()
	if got := encode(t, a.faults()...); got != want {
		t.Errorf("faults before the kill: %s\nand after: %s", want, got)
	}
	a.wantHeld(2)
	netlab.Eventually(t, 30*time.Second, "the short one ends", func() error {
		if left := a.faults(); len(left) != 1 || left[0].Name != "long" {
			return fmt.Errorf("%+v", left)
		}
		return nil
	})
	if took := time.Since(start); took < 4*time.Second {
		t.Errorf("5s ended after %s", took)
	}
	a.wantHeld(1)
}

func TestDeadlinePassesWhileTheAgentIsDead(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	before := kernelState(t, l.pod)
	a.apply(api.Fault{Name: "short", Delay: "200ms", Duration: "2s"})
	over := time.Now().Add(2 * time.Second)
	a.stop(syscall.SIGKILL)
	<-time.After(time.Until(over)) // the clock is what is tested
	a.start()
	if left := a.faults(); len(left) != 0 {
		t.Errorf("faults after their end: %+v", left)
	}
	if after := kernelState(t, l.pod); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if p := l.node.Ping(t, l.pod.IP, 3, interval); p.Received != p.Sent || p.Median() > 100*time.Millisecond {
		t.Errorf("pings after the end: %+v", p)
	}
}

// --max-duration is the life of what names none, and the most of what does.
func TestMaxDuration(t *testing.T) {
	netlab.EngineIndependent(t)
	a := startAgent(t, "--max-duration=4s")
	for _, f := range []api.Fault{
		{Name: "long", Delay: "1ms", Duration: "5s"},
		{Name: "long", Delay: "1ms", ExpiresAt: time.Now().Add(time.Minute).UTC().Format(time.RFC3339)},
	} {
		problem := a.refused(http.StatusBadRequest, f)
		if !strings.Contains(problem.Detail, "--max-duration is 4s") {
			t.Errorf("the detail does not name the cap: %s", problem.Detail)
		}
	}
	a.latency(api.PathLatency + "/1ms?duration=3s")
	start := time.Now()
	a.set("200ms")
	if left := a.faults(); len(left) != 1 || left[0].ExpiresAt == "" {
		t.Fatalf("faults %+v, want one that ends", left)
	}
	if took := a.gone(15 * time.Second).Sub(start); took < 3*time.Second {
		t.Errorf("4s ended after %s", took)
	}
}
