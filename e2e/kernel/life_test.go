//go:build kernel

package kernel

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

func TestKilledAgentFindsItsFault(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	base := rtt(t, l.node, l.pod.IP)
	a.set("20ms")
	a.stop(syscall.SIGKILL)

	// netem is in the kernel and goes on; nfqueue's rule lets packets pass when
	// nobody reads the queue.
	var left time.Duration
	if engineName == "netem" {
		left = 20 * time.Millisecond
	}
	wantRTT(t, l.node, "while the agent is dead", l.pod.IP, base, left)

	a.start()
	if answer := a.latency(api.PathLatency); answer.Fault == nil || answer.Fault.Delay != "20ms" {
		t.Fatalf("the restarted agent reports fault %+v, want 20ms", answer.Fault)
	}
	wantRTT(t, l.node, "after the restart", l.pod.IP, base, 20*time.Millisecond)
	a.clear()
	wantRTT(t, l.node, "after clear", l.pod.IP, base, 0)
}

// Without a state directory the kernel alone must be enough.
func TestKilledAgentFindsItsFaultWithoutState(t *testing.T) {
	a := startAgent(t, "--state-dir=")
	l := a.lab
	base := rtt(t, l.node, l.pod.IP)
	a.set("1.5ms")
	a.stop(syscall.SIGKILL)
	a.start()
	if answer := a.latency(api.PathLatency); answer.Fault == nil || answer.Fault.Delay != "1.5ms" {
		t.Fatalf("the restarted agent reports fault %+v, want 1.5ms", answer.Fault)
	}
	wantRTT(t, l.node, "after the restart", l.pod.IP, base, 1500*time.Microsecond)
	a.clear()
	wantRTT(t, l.node, "after clear", l.pod.IP, base, 0)
}

// The packets of a connection that goes on meanwhile are neither lost nor
// doubled: what waits leaves when the agent ends.
func TestTerminatedAgentKeepsTheFaultForTheNext(t *testing.T) {
	a := startAgent(t)
	a.set("20ms")
	stop := make(chan struct{})
	f := udp(a.lab.pod, a.lab.bystander, 100_000)
	f.Burst, f.Pace, f.Until = 1, 2*time.Millisecond, stop
	end := f.Start()
	a.stop(syscall.SIGTERM)
	a.start()
	close(stop)
	got, err := end()
	if err = errors.Join(err, got.Intact()); err != nil {
		t.Errorf("across a restart: %v", err)
	}
	if answer := a.latency(api.PathLatency); answer.Fault == nil || answer.Fault.Delay != "20ms" {
		t.Fatalf("the next agent reports fault %+v, want 20ms", answer.Fault)
	}
	a.clear()
	a.stop(syscall.SIGKILL)
	a.start()
	if answer := a.latency(api.PathLatency); answer.Fault != nil {
		t.Fatalf("a cleared fault came back: %+v", answer.Fault)
	}
}

// The agent that comes after a killed one may have been told of other probes.
func TestNextAgentHasOtherExemptions(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	l.pod.Listen(t, ":4000", netlab.Discard)
	probe := net.JoinHostPort(l.pod.IP, "4000")
	a.set("2s")
	if l.node.Connects(t, probe, time.Second) {
		t.Error("a connection from the node is not delayed though nothing says that it is a probe")
	}
	a.stop(syscall.SIGKILL)
	a.args = append(a.args, "--probe-ports=4000", "--node-ip="+l.node.IP)
	a.start()
	a.wantHeld(1)
	if took := l.node.ConnectTime(t, probe); took > prompt {
		t.Errorf("a probe took %s", took)
	}
	if l.bystander.Connects(t, probe, time.Second) {
		t.Error("another pod's connection is not delayed")
	}
}
