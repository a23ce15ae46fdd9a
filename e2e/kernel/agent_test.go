//go:build kernel

package kernel

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

// agent is the process under test and the way to talk to it.
type agent struct {
	t    testing.TB
	lab  *lab
	args []string
	// env is beside the test's own environment.
	env []string
	// state is its --state-dir.
	state string
	// token is sent with every request, if there is one.
	token string
	cmd   *exec.Cmd
	log   *logBuffer
	// stopped says that a test stopped it, and so perhaps changed more.
	stopped bool
	// before is the pod's kernel state before it started.
	before string
}

// shared is the agent of all tests that neither have flags of their own nor stop
// it: a process takes long to start under User Mode Linux. It is nil before the
// first of them, and after one that may have spoiled it.
var shared *agent

// startAgent returns an agent in the lab's pod that answers and has no fault.
// Without flags it may have served another test. When the test ends the faults
// are cleared, and nothing may be left in the kernel.
func startAgent(t testing.TB, flags ...string) *agent {
	t.Helper()
	if len(flags) > 0 {
		return freshAgent(t, flags...)
	}
	if shared == nil {
		shared = newAgent(t)
		shared.start()
	}
	a := shared
	a.t = t
	from := a.log.length()
	t.Cleanup(func() {
		a.t = t
		a.clearAll()
		if a.stopped || t.Failed() {
			shared = nil
			a.end()
		}
		a.leavesNothing(from)
	})
	return a
}

// freshAgent is startAgent for a test that needs an agent of its own, from the
// start or with flags.
func freshAgent(t testing.TB, flags ...string) *agent {
	t.Helper()
	endShared() // both would listen
	a := newAgent(t, flags...)
	t.Cleanup(func() {
		a.t = t
		a.clearAll()
		a.end()
		a.leavesNothing(0)
	})
	a.start()
	return a
}

func endShared() {
	if shared != nil {
		shared.end()
		shared = nil
	}
}

// newAgent returns an agent that is to be started.
func newAgent(t testing.TB, flags ...string) *agent {
	t.Helper()
	dir, err := os.MkdirTemp("", "tidelay-agent-") //nolint:usetesting // it may outlive the test
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, lab: theLab, state: filepath.Join(dir, "state"), log: &logBuffer{}, before: kernelState(t, theLab.pod)}
	a.args = append([]string{"--engine=" + engineFlag, "--state-dir=" + a.state}, flags...)
	return a
}

// end stops the agent for good.
func (a *agent) end() {
	a.stop(syscall.SIGTERM)
	_ = os.RemoveAll(filepath.Dir(a.state))
}

// leavesNothing wants the kernel to be as it was before the agent. A test that
// failed gets the agent's log, from there on.
func (a *agent) leavesNothing(from int) {
	a.t.Helper()
	if after := kernelState(a.t, a.lab.pod); after != a.before {
		a.t.Errorf("the kernel held before the agent started:\n%s\nand after its faults were cleared:\n%s", a.before, after)
	}
	if a.t.Failed() {
		a.t.Logf("agent's log:\n%s", a.log.after(from))
	}
}

// logBuffer is what an agent printed, which goes on while it is read.
type logBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	return len(p), nil
}

func (b *logBuffer) length() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.text)
}

func (b *logBuffer) after(from int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text[from:])
}

// kernelState is everything an engine could leave, in the kernel's own tools'
// words.
func kernelState(t testing.TB, h *netlab.Host) string {
	t.Helper()
	state := h.TrafficControl(t, netlab.Device)
	if engineName == "nfqueue" {
		state += h.Ruleset(t)
	}
	return strings.TrimSpace(state)
}

// start starts the process and waits until it answers.
func (a *agent) start() {
	a.t.Helper()
	a.launch()
	a.waitForAnswer(20 * time.Second)
}

// launch starts the process, and does not wait for anything.
func (a *agent) launch() {
	a.t.Helper()
	a.cmd = exec.Command(agentBinary, a.args...)
	a.cmd.Stderr, a.cmd.Stdout = a.log, a.log
	a.cmd.Env = append(append(os.Environ(), "NODE_IP=", "PROBE_PORTS=", "POD_UID="), a.env...)
	if err := a.lab.pod.Start(a.cmd); err != nil {
		a.t.Fatalf("start agent: %v", err)
	}
}

func (a *agent) waitForAnswer(within time.Duration) {
	a.t.Helper()
	netlab.Eventually(a.t, within, "the agent answers", func() error { return a.answersAt(a.lab.pod.IP) })
}

// answersAt has an error unless the agent answers at an address of the pod, and not
// another process.
func (a *agent) answersAt(ip string) error {
	response, err := (&http.Client{Transport: a.transport()}).Get(client.URL(ip) + api.PathHealthz)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if server := response.Header.Get("Server"); server != api.ServerName {
		return fmt.Errorf("%q answers", server)
	}
	return nil
}

// says has an error unless the agent's log has a text once.
func (a *agent) says(text string) error {
	log := a.log.after(0)
	if count := strings.Count(log, text); count != 1 {
		return fmt.Errorf("the log has %q %d times, want once:\n%s", text, count, log)
	}
	return nil
}

// taskFails and taskWorks are what the log says of a task.
func taskFails(task string) string { return `"task fails and is tried again","task":"` + task + `"` }
func taskWorks(task string) string { return `"task works again","task":"` + task + `"` }

// stop ends the process with a signal and waits for it; having none is fine.
func (a *agent) stop(signal syscall.Signal) {
	if a.cmd == nil {
		return
	}
	a.stopped = true
	_ = a.cmd.Process.Signal(signal)
	_ = a.cmd.Wait()
	a.cmd = nil
}
