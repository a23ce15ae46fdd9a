//go:build kernel

package kernel

import (
	"fmt"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// While nobody can read what the agent before has stored, a change overwrites none of
// it: each is refused, but for the end of all faults. Once it can be read, its faults
// are in force.
func TestAnUnreadableStateIsNotOverwritten(t *testing.T) {
	netlab.EngineIndependent(t)
	a := freshAgent(t)
	cut := api.Fault{Name: "cut", Direction: "both", Peers: []string{a.lab.bystander.IP, a.lab.bystander.IP6}, Partition: true}
	late := api.Fault{Name: "late", Owner: owned, Peers: []string{a.lab.bystander.More[0]}, Delay: "20ms"}
	a.apply(cut, late)
	a.stop(syscall.SIGKILL)
	show := hideState(t, a)
	a.start()
	for _, r := range []struct{ method, path, body string }{
		{http.MethodGet, api.PathFaults, ""},
		{http.MethodGet, "/latency", ""},
		{http.MethodGet, "/latency/5ms", ""},
		{http.MethodDelete, "/latency", ""},
		{http.MethodDelete, api.PathFaults + "/late", ""},
		{http.MethodPut, api.PathFaults + "/new", `{"peers":["198.51.100.1"],"delay":"1ms"}`},
		{http.MethodPut, api.PathFaults + "?owner=" + owned, `{"faults":[]}`},
		{http.MethodPut, api.PathFaults, `{"faults":[{"name":"new","delay":"1ms"}]}`},
	} {
		a.send(r.method, r.path, r.body, http.StatusServiceUnavailable, &api.Problem{})
	}
	if !warns(a.status(), "the faults of an earlier agent are not known") {
		t.Errorf("warnings %q", a.status().Warnings)
	}
	show()
	netlab.Eventually(t, 30*time.Second, "what was stored is in force", func() error {
		r, err := a.ask(http.MethodGet, api.PathFaults, "")
		if err == nil && r.status != http.StatusOK {
			err = fmt.Errorf("status %d", r.status)
		}
		return err
	})
	a.wantHeld(2)
	if p := a.lab.pod.PingNobody(t, a.lab.bystander.IP, 2, interval); p.Received > 0 {
		t.Errorf("the cut lets pings pass: %+v", p)
	}

	a.stop(syscall.SIGKILL)
	show = hideState(t, a)
	a.start()
	a.send(http.MethodDelete, api.PathFaults, "", http.StatusOK, &api.Changes{})
	if p := a.lab.pod.Ping(t, a.lab.bystander.IP, 3, interval); p.Received != p.Sent {
		t.Errorf("after the end of all %d of %d pings pass", p.Received, p.Sent)
	}
	if left := kernelState(t, a.lab.pod); left != a.before {
		t.Errorf("the kernel held before the agent:\n%s\nand without faults:\n%s", a.before, left)
	}
	show()
	netlab.Eventually(t, 15*time.Second, "the end is stored", func() error { return a.metric("tidelay_agent_state_stored 1") })
	a.stop(syscall.SIGKILL)
	a.start()
	if left := a.faults(); len(left) != 0 {
		t.Errorf("the next agent brings back %+v", left)
	}
}

// hideState puts a file in the place of an agent's state directory, until the returned
// function is called.
func hideState(t *testing.T, a *agent) (show func()) {
	t.Helper()
	aside := a.state + ".aside"
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Rename(a.state, aside))
	must(os.WriteFile(a.state, nil, 0o600))
	return func() {
		t.Helper()
		// At once, so that the agent never finds that nothing is stored.
		must(unix.Renameat2(unix.AT_FDCWD, aside, unix.AT_FDCWD, a.state, unix.RENAME_EXCHANGE))
		must(os.Remove(aside))
	}
}
