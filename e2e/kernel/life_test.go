//go:build kernel

package kernel

import (
	"net/http"
	"syscall"
	"testing"
	"time"

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
	without := base
	if engineName == "netem" {
		without += 20 * time.Millisecond
	}
	wantRTT(t, l.node, "while the agent is dead", l.pod.IP, without)

	a.start()
	if answer := a.latency(http.MethodGet, api.PathLatency); answer.Fault == nil || answer.Fault.Delay != "20ms" {
		t.Fatalf("the restarted agent reports fault %+v, want 20ms", answer.Fault)
	}
	wantRTT(t, l.node, "after the restart", l.pod.IP, base+20*time.Millisecond)
	a.clear()
	wantRTT(t, l.node, "after clear", l.pod.IP, base)
}

// Without a state directory the kernel alone must be enough.
func TestKilledAgentFindsItsFaultWithoutState(t *testing.T) {
	a := startAgent(t, "--state-dir=")
	l := a.lab
	base := rtt(t, l.node, l.pod.IP)
	a.set("1.5ms")
	a.stop(syscall.SIGKILL)
	a.start()
	if answer := a.latency(http.MethodGet, api.PathLatency); answer.Fault == nil || answer.Fault.Delay != "1.5ms" {
		t.Fatalf("the restarted agent reports fault %+v, want 1.5ms", answer.Fault)
	}
	wantRTT(t, l.node, "after the restart", l.pod.IP, base+1500*time.Microsecond)
	a.clear()
	wantRTT(t, l.node, "after clear", l.pod.IP, base)
}

func TestTerminatedAgentKeepsTheFaultForTheNext(t *testing.T) {
	a := startAgent(t)
	a.set("20ms")
	a.stop(syscall.SIGTERM)
	a.start()
	if answer := a.latency(http.MethodGet, api.PathLatency); answer.Fault == nil || answer.Fault.Delay != "20ms" {
		t.Fatalf("the next agent reports fault %+v, want 20ms", answer.Fault)
	}
	a.clear()
	a.stop(syscall.SIGKILL)
	a.start()
	if answer := a.latency(http.MethodGet, api.PathLatency); answer.Fault != nil {
		t.Fatalf("a cleared fault came back: %+v", answer.Fault)
	}
}
