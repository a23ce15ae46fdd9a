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
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/fault"
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

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(envRole) {
	case roleAgent:
		err = serveAgent()
	case roleProbe:
		err = Probe()
	default:
		os.Exit(m.Run())
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
	e, err := Open(device, exempt, slog.New(slog.NewTextHandler(os.Stderr, nil)))
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

// remote is an engine in the form that net/rpc wants.
type remote struct{ engine *Engine }

func (r remote) Set(f fault.Fault, _ *struct{}) error { return r.engine.Set(f) }

func (r remote) Clear(struct{}, *struct{}) error { return r.engine.Clear() }

func (r remote) State(_ struct{}, state *fault.State) (err error) {
	*state, err = r.engine.State()
	return err
}

// as returns the test binary in a role, inside the pod, with the given
// capabilities only.
func (p pod) as(t testing.TB, role, capabilities string) *exec.Cmd {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Both programs replace themselves: the process is the role's.
	cmd := exec.Command("ip", "netns", "exec", p.name, "setpriv", "--bounding-set", capabilities, "--inh-caps", "-all", binary)
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
	cmd := p.as(t, roleAgent, onlyNetAdmin)
	cmd.Env = append(cmd.Env, envExempt+"="+string(encoded))
	cmd.Stderr = os.Stderr
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, cmd.Start()); err != nil {
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
	if err := a.client.Call("Engine.State", struct{}{}, &fault.State{}); err != nil && !errors.As(err, &refused) {
		t.Fatalf("start agent: %v", err)
	}
	return a
}

// trySet returns the engine's answer; the process boundary keeps its words only.
func (a *agent) trySet(delay time.Duration) error {
	return a.client.Call("Engine.Set", fault.Fault{Name: "latency", Delay: delay}, &struct{}{})
}

func (a *agent) set(delay time.Duration) {
	a.t.Helper()
	if err := a.trySet(delay); err != nil {
		a.t.Fatalf("set %v: %v", delay, err)
	}
}

func (a *agent) clear() {
	a.t.Helper()
	if err := a.client.Call("Engine.Clear", struct{}{}, &struct{}{}); err != nil {
		a.t.Fatalf("clear: %v", err)
	}
}

func (a *agent) state() fault.State {
	a.t.Helper()
	var state fault.State
	if err := a.client.Call("Engine.State", struct{}{}, &state); err != nil {
		a.t.Fatalf("state: %v", err)
	}
	return state
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
