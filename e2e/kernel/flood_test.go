//go:build kernel

package kernel

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// mostMemory is in bytes: three quarters of the limit that an injected agent has,
// so that what the kernel keeps for it has room.
const mostMemory = 96 << 20

// Whatever clients hold, the agent's memory stays within its limit, its health is
// answered, and a fault can be set and ended.
func TestFloodsAreSurvived(t *testing.T) {
	netlab.EngineIndependent(t)
	t.Setenv("GOMEMLIMIT", "96MiB") // as the injector sets it
	var group *memoryGroup
	t.Cleanup(func() {
		if group != nil {
			_ = os.Remove(group.folder) // the agent has ended
		}
	})
	a := freshAgent(t)
	group = limitMemory(t, a.cmd.Process.Pid)
	address := net.JoinHostPort(a.lab.pod.IP, strconv.Itoa(api.Port))
	stalled := "PUT " + api.PathFaults + " HTTP/1.1\r\nHost: agent\r\nContent-Length: 256000\r\n\r\n" + strings.Repeat(" ", 255_000)
	for _, flood := range []struct {
		what        string
		connections int
		send        string
	}{
		{"stalled bodies", 650, stalled},
		{"idle connections", 6000, ""},
		{"slow headers", 1000, "GET / HTTP/1.1\r\nX-Long: " + strings.Repeat("x", 15_000)},
		{"many headers", 1000, "GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 2000)},
		{"huge paths", 100, "GET /" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\n\r\n"},
		{"slow readers", 650, strings.Repeat("GET "+api.PathOpenAPI+" HTTP/1.1\r\nHost: agent\r\n\r\n", 50)},
	} {
		t.Run(flood.what, func(t *testing.T) {
			stop := a.flood(address, flood.connections, flood.send)
			defer stop()
			for range 5 {
				begin := time.Now()
				a.wantStatus(flood.what, http.MethodGet, api.PathHealthz, "", http.StatusOK)
				if took := time.Since(begin); took > machine.Patience {
					t.Errorf("health took %s, want at most %s", took, machine.Patience)
				}
				a.wantStatus(flood.what, http.MethodDelete, api.PathFaults, "", http.StatusOK)
			}
		})
		if most := a.mostResident(); most > mostMemory {
			t.Fatalf("%s: the agent needed %d MiB", flood.what, most>>20)
		}
		t.Logf("%s: the agent needed %d MiB so far", flood.what, a.mostResident()>>20)
	}
	if group != nil {
		t.Logf("its control group needed %d of %d MiB", group.most()>>20, memoryLimit>>20)
	}
	if log := a.log.after(0); strings.Contains(log, "level=ERROR") || strings.Contains(log, `"level":"ERROR"`) {
		t.Error("clients' doing is logged as an error")
	}
}

// flood opens connections, sends the same on each, reads nothing, and keeps them
// until it is stopped.
func (a *agent) flood(address string, connections int, send string) (stop func()) {
	a.t.Helper()
	var open []net.Conn
	for i := range connections {
		conn, err := a.lab.node.Dial(context.Background(), "tcp", address)
		if err != nil {
			a.t.Fatalf("connection %d: %v", i, err)
		}
		open = append(open, conn)
		_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // the agent need not read all
		_, _ = io.WriteString(conn, send)
	}
	return func() {
		for _, conn := range open {
			_ = conn.Close()
		}
	}
}

// mostResident returns the largest resident set that the agent ever had, in
// bytes.
func (a *agent) mostResident() int {
	a.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		a.t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	var kib int
	if _, err := fmt.Sscan(line, &kib); err != nil {
		a.t.Fatalf("no VmHWM: %v", err)
	}
	return kib << 10
}
