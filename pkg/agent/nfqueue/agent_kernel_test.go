//go:build linux && kernel

package nfqueue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// The engine under test is a process of its own, so that it can be killed: the
// test binary once more, in the pod's namespace, with no capability but
// NET_ADMIN, driven over its standard streams.

// What the test binary is when it is not a test, and an agent's exemption.
const (
	envRole   = "TIDELAY_TEST_ROLE"
	envExempt = "TIDELAY_TEST_EXEMPT"

	roleAgent = "agent"
	roleProbe = "probe"
)

// queueMemory is what the agent has for packets that wait, as its flag says.
const queueMemory = 256 << 20

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(envRole) {
	case roleAgent:
		err = serveAgent()
	case roleProbe:
		err = Probe()
	default:
		os.Exit(netlab.Main(m))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveAgent runs an engine until its standard input ends.
func serveAgent() error {
	var exempt fault.Exemption
	if err := json.Unmarshal([]byte(os.Getenv(envExempt)), &exempt); err != nil {
		return err
	}
	e, err := Open(fault.Scope{Devices: []string{device}, Exempt: exempt}, queueMemory, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	server := rpc.NewServer()
	if err := server.RegisterName("Engine", remote{e}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- e.Run(ctx) }()
	server.ServeConn(stdio{os.Stdin, os.Stdout})
	cancel()
	return <-stopped
}

type stdio struct {
	io.Reader
	io.WriteCloser
}

// remote is an engine in the form that net/rpc wants. Faults travel as users
// write them, in JSON, which tells a zero from nothing.
type remote struct{ engine *Engine }

func (r remote) Apply(set []byte, _ *struct{}) error {
	faults, err := decodeFaults(set)
	if err != nil {
		return err
	}
	return r.engine.Apply(faults)
}

func (r remote) State(set []byte, state *fault.State) error {
	faults, err := decodeFaults(set)
	if err != nil {
		return err
	}
	*state, err = r.engine.State(faults)
	return err
}

// Adopt adopts and applies what it finds, as an agent does.
func (r remote) Adopt(_ struct{}, adopted *[]string) error {
	faults, err := r.engine.Adopt()
	if err != nil {
		return err
	}
	for _, f := range faults {
		*adopted = append(*adopted, formatFault(f))
	}
	return r.engine.Apply(faults)
}

func decodeFaults(set []byte) ([]fault.Fault, error) {
	var wire []api.Fault
	if err := json.Unmarshal(set, &wire); err != nil {
		return nil, err
	}
	return fault.ParseSet(wire, fault.Limits{Now: fault.Moment{Wall: time.Now()}, Devices: []string{device}})
}

// as returns the test binary in a role, to be started in a pod, with the given
// capabilities only.
func as(t testing.TB, role, capabilities string) *exec.Cmd {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// setpriv replaces itself: the process is the role's.
	cmd := exec.CommandContext(context.Background(), "setpriv", "--bounding-set", capabilities, "--inh-caps", "-all", binary)
	cmd.Env = append(os.Environ(), envRole+"="+role)
	return cmd
}

const onlyNetAdmin = "-all,+net_admin"

// agent is an engine in a process.
type agent struct {
	t      testing.TB
	pod    pod
	cmd    *exec.Cmd
	client *rpc.Client
}

// start runs an engine in the pod until the test ends.
func (p pod) start(t testing.TB, exempt fault.Exemption) *agent {
	t.Helper()
	exempt.ControlPort = api.Port
	encoded, err := json.Marshal(exempt)
	if err != nil {
		t.Fatal(err)
	}
	cmd := as(t, roleAgent, onlyNetAdmin)
	cmd.Env = append(cmd.Env, envExempt+"="+string(encoded))
	cmd.Stderr = os.Stderr
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, p.Start(cmd)); err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, pod: p, cmd: cmd, client: rpc.NewClient(stdio{out, in})}
	t.Cleanup(func() {
		if a.cmd.ProcessState == nil {
			a.stop()
		}
	})
	// Any answer means that the engine is open.
	var refused rpc.ServerError
	if err := a.client.Call("Engine.State", []byte("[]"), &fault.State{}); err != nil && !errors.As(err, &refused) {
		t.Fatalf("start agent: %v", err)
	}
	return a
}

// tryApply returns the engine's answer; the process boundary keeps its words
// only.
func (a *agent) tryApply(faults ...api.Fault) error {
	set, err := json.Marshal(faults)
	if err != nil {
		return err
	}
	return a.client.Call("Engine.Apply", set, &struct{}{})
}

// apply makes these the faults of the pod; none ends all.
func (a *agent) apply(faults ...api.Fault) {
	a.t.Helper()
	if err := a.tryApply(faults...); err != nil {
		a.t.Fatalf("apply %+v: %v", faults, err)
	}
}

// latency is a delay of everything that leaves the pod.
func latency(delay time.Duration) api.Fault {
	return api.Fault{Name: fault.Latency, Delay: fault.FormatDelay(delay)}
}

func (a *agent) set(delay time.Duration) {
	a.t.Helper()
	a.apply(latency(delay))
}

func (a *agent) state(faults ...api.Fault) fault.State {
	a.t.Helper()
	set, err := json.Marshal(faults)
	if err != nil {
		a.t.Fatal(err)
	}
	var state fault.State
	if err := a.client.Call("Engine.State", set, &state); err != nil {
		a.t.Fatalf("state: %v", err)
	}
	return state
}

// counters returns what was counted for a fault that is held, in all its
// directions.
func (a *agent) counters(f api.Fault) api.Counters {
	a.t.Helper()
	state := a.state(f)
	holdings, held := state.Found[f.Name]
	if !held {
		a.t.Fatalf("fault %q is not held: %+v", f.Name, state)
	}
	var sum api.Counters
	for _, one := range holdings {
		sum = sum.Add(one.Counters)
	}
	return sum
}

// tryAdopt returns in words what a new agent finds.
func (a *agent) tryAdopt() (string, error) {
	var adopted []string
	err := a.client.Call("Engine.Adopt", struct{}{}, &adopted)
	return strings.Join(adopted, ", "), err
}

// stop ends the agent in good order.
func (a *agent) stop() {
	a.t.Helper()
	_ = a.client.Close()
	if err := a.cmd.Wait(); err != nil {
		a.t.Errorf("agent: %v", err)
	}
}

func (a *agent) signal(s os.Signal) {
	a.t.Helper()
	if err := a.cmd.Process.Signal(s); err != nil {
		a.t.Fatal(err)
	}
}

// freeze stops every thread of the agent until a SIGCONT.
func (a *agent) freeze() {
	a.t.Helper()
	a.signal(unix.SIGSTOP)
	var status unix.WaitStatus
	if _, err := unix.Wait4(a.cmd.Process.Pid, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
		a.t.Fatalf("wait for the agent to stop: %v, status %#x", err, status)
	}
}

// kill ends the agent without warning.
func (a *agent) kill() {
	a.t.Helper()
	a.signal(os.Kill)
	_ = a.cmd.Wait()
	_ = a.client.Close()
}
