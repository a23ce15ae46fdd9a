//go:build kernel

package kernel

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
)

// A second agent would take the first one's faults for leftovers. It changes nothing
// and says whom it met, whatever its port and state directory are. When the first one
// is gone, it takes up the work.
func TestASecondAgentWaits(t *testing.T) {
	a := freshAgent(t)
	a.set("20ms")
	met := fmt.Sprint("process ", a.cmd.Process.Pid) // which is logged once, however often it is met
	before := kernelState(t, a.lab.pod)
	for _, args := range [][]string{
		{"--listen=:2444", "--state-dir=" + t.TempDir()},
		{"--listen=127.0.0.1:2445", "--state-dir=", "--device=lo"},
	} {
		other := a.waitingAgent(args...)
		other.stop(syscall.SIGTERM) // also while it waits
	}
	second := a.waitingAgent(a.args...)
	if after := kernelState(t, a.lab.pod); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	a.wantHeld(1)
	a.stop(syscall.SIGKILL) // the lock ends with its process
	netlab.Eventually(t, 30*time.Second, "the second agent answers", func() error { return second.answersAt(a.lab.pod.IP) })
	second.wantHeld(1)
	for _, text := range []string{met, taskWorks("lock the pod")} {
		if err := second.says(text); err != nil {
			t.Error(err)
		}
	}
	second.stop(syscall.SIGTERM)
	a.start()
	a.wantHeld(1)
}

// waitingAgent starts another agent in the pod, which must say that it found the
// first.
func (a *agent) waitingAgent(args ...string) *agent {
	a.t.Helper()
	other := &agent{t: a.t, lab: a.lab, args: args, log: &logBuffer{}}
	other.launch()
	a.t.Cleanup(func() { other.stop(syscall.SIGKILL) })
	netlab.Eventually(a.t, 20*time.Second, fmt.Sprintf("%q says whom it met", args), func() error {
		if err := other.says(`it listens at \":2332\"`); err != nil {
			return err
		}
		return other.says(fmt.Sprint("process ", a.cmd.Process.Pid))
	})
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/exe", other.cmd.Process.Pid)); err != nil {
		a.t.Errorf("%q has ended: %v", args, err) // a process that was not waited for has no exe
	}
	return other
}
