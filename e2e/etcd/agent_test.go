//go:build kernel

package etcd

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

// answering is how long an agent may take to start, and for one answer.
const answering = time.Minute

// An agent is the one beside a member.
type agent struct {
	host   *netlab.Host
	client *client.Client
	folder string
	cmd    *exec.Cmd // nil while there is none
	log    tail
}

// newAgent returns an agent that is to be started, with a client on a host.
func newAgent(host, from *netlab.Host, folder string) *agent {
	c, err := client.New(client.URL(host.IP), client.Options{
		Transport: &http.Transport{DialContext: from.Dial, DisableKeepAlives: true, ResponseHeaderTimeout: answering},
	})
	if err != nil {
		panic(err) // the address is the lab's
	}
	return &agent{host: host, client: c, folder: folder}
}

// start waits until the agent answers.
func (a *agent) start() error {
	a.cmd = exec.Command(agentBinary, "--engine="+engineFlag, "--state-dir="+a.folder)
	a.cmd.Stdout, a.cmd.Stderr = &a.log, &a.log
	a.cmd.Env = append(os.Environ(), "NODE_IP=", "PROBE_PORTS=", "POD_UID=")
	if err := a.host.Start(a.cmd); err != nil {
		return fmt.Errorf("start the agent of %s: %w", a.host.Name, err)
	}
	err := netlab.Poll(answering, func() error {
		_, err := a.client.Ready(context.Background())
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for the agent of %s: %w\n%s", a.host.Name, err, a.log.end())
	}
	return nil
}

// kill ends the process as kill -9 does.
func (a *agent) kill() {
	if a.cmd != nil && a.cmd.Process != nil {
		_ = a.cmd.Process.Kill()
		_ = a.cmd.Wait()
	}
	a.cmd = nil
}

// set replaces all faults, and wants the kernel to hold them.
func (a *agent) set(t *testing.T, faults ...api.Fault) {
	t.Helper()
	if _, err := a.client.ReplaceFaults(t.Context(), faults); err != nil {
		t.Fatalf("set faults on %s: %v", a.host.Name, err)
	}
	a.wantHeld(t, len(faults))
}

func (a *agent) wantHeld(t *testing.T, count int) []api.FaultStatus {
	t.Helper()
	status, err := a.client.Status(t.Context())
	if err != nil {
		t.Fatalf("read the status of %s: %v", a.host.Name, err)
	}
	held := 0
	for _, f := range status.Faults {
		if f.Held {
			held++
		}
	}
	if status.Engine != engineName || held != count || len(status.Faults) != count {
		t.Fatalf("%s, engine %s: %d of %d faults are held, want %d: %q", a.host.Name, status.Engine, held, len(status.Faults), count, status.Warnings)
	}
	return status.Faults
}

// clear ends all faults at the end of a test, also where it killed the agent.
func (a *agent) clear(t *testing.T) {
	t.Helper()
	if a.cmd == nil {
		if err := a.start(); err != nil {
			t.Error(err)
			return
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), answering)
	defer cancel()
	if _, err := a.client.DeleteFaults(ctx); err != nil {
		t.Errorf("end the faults of %s: %v", a.host.Name, err)
	}
}

// tail is the end of what a program printed.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// tailSize is how many bytes a tail keeps.
const tailSize = 8 << 10

func (b *tail) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	b.text = b.text[max(0, len(b.text)-tailSize):]
	return len(p), nil
}

func (b *tail) end() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimRight(string(b.text), "\n") + "\n"
}
