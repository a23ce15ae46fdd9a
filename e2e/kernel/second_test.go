//go:build kernel

package kernel

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A second agent would take the first one's faults for leftovers. It ends at
// once and says whom it met, whatever its port and state directory are.
func TestASecondAgentEndsAtOnce(t *testing.T) {
	a := freshAgent(t)
	a.set("20ms")
	before := kernelState(t, a.lab.pod)
	for _, args := range [][]string{
		{"--listen=:2444", "--state-dir=" + t.TempDir()},
		{"--listen=127.0.0.1:2445", "--state-dir=", "--device=lo"},
		a.args,
	} {
		if text := a.startSecond(args...); !strings.Contains(text, "another agent runs in this pod") ||
			!strings.Contains(text, fmt.Sprint("process ", a.cmd.Process.Pid)) || !strings.Contains(text, ":2332") {
			t.Errorf("%q says %s", args, text)
		}
	}
	if after := kernelState(t, a.lab.pod); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	a.wantHeld(1)
	a.stop(syscall.SIGKILL)
	a.start() // the lock ends with its process
	a.wantHeld(1)
}

// startSecond starts another agent in the pod and returns what it says. It must
// fail within 20 seconds.
func (a *agent) startSecond(args ...string) string {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, agentBinary, args...)
	cmd.Env = append(os.Environ(), "NODE_IP=", "PROBE_PORTS=")
	_, err := a.lab.pod.Run(cmd)
	if err == nil || ctx.Err() != nil {
		a.t.Fatalf("%q: %v, want it to fail at once", args, err)
	}
	return err.Error()
}
