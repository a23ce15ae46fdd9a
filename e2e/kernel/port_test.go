//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// An agent whose port another process has stays alive: the pod's Services depend on
// that. It is served where the port is free, says where it is not, and is there soon
// after the other process has gone.
func TestThePortIsTaken(t *testing.T) {
	netlab.EngineIndependent(t)
	const v4, v6 = "tcp4 :2332", "tcp6 :2332"
	for name, c := range map[string]struct {
		network, address string
		taken            []string
	}{
		"IPv4":     {"tcp4", ":2332", []string{v4}},
		"IPv6":     {"tcp6", ":2332", []string{v6}},
		"loopback": {"tcp4", "127.0.0.1:2332", []string{v4}},
		"both":     {"tcp", ":2332", []string{v4, v6}},
	} {
		t.Run(name, func(t *testing.T) {
			a := freshAgent(t)
			a.stop(syscall.SIGTERM)
			release := occupy(t, a.lab.pod, c.network, c.address)
			a.launch()
			for _, where := range c.taken {
				netlab.Eventually(t, 20*time.Second, "it says so", func() error { return a.says(taskFails("serve on " + where)) })
			}
			for where, ip := range map[string]string{v4: a.lab.pod.IP, v6: a.lab.pod.IP6} {
				if !strings.Contains(fmt.Sprint(c.taken), where) {
					netlab.Eventually(t, 20*time.Second, "the other family is served", func() error { return a.answersAt(ip) })
				} else if err := a.answersAt(ip); err == nil {
					t.Errorf("it answers at %s, where another process listens", ip)
				}
			}
			if c.network == "tcp6" {
				if warnings := strings.Join(a.status().Warnings, "\n"); !strings.Contains(warnings, "can't serve on tcp6") || !strings.Contains(warnings, "another process has the port") {
					t.Errorf("the status warns of %q", warnings)
				}
			}
			release()
			for _, ip := range []string{a.lab.pod.IP, a.lab.pod.IP6} {
				netlab.Eventually(t, 30*time.Second, "it is served again", func() error { return a.answersAt(ip) })
			}
			for _, where := range c.taken {
				if err := errors.Join(a.says(taskFails("serve on "+where)), a.says(taskWorks("serve on "+where))); err != nil {
					t.Error(err)
				}
			}
			if warnings := a.status().Warnings; len(warnings) != 0 {
				t.Errorf("afterwards the status warns of %q", warnings)
			}
		})
	}
}

// While nobody can be served, faults are restored and end on time.
func TestFaultsEndWhileThePortIsTaken(t *testing.T) {
	const life = 10 * time.Second
	a := freshAgent(t)
	l := a.lab
	a.apply(api.Fault{Name: "cut", Peers: []string{l.bystander.IP}, Partition: true, Duration: life.String()},
		api.Fault{Name: "stays", Peers: []string{l.bystander.More[0]}, Delay: "20ms"})
	begin := time.Now()
	a.stop(syscall.SIGKILL)
	release := occupy(t, l.pod, "tcp", ":2332")
	a.launch()
	netlab.Eventually(t, 20*time.Second, "it says so", func() error { return a.says(taskFails("serve on tcp4 :2332")) }) // after it has restored the faults
	if p := l.pod.PingNobody(t, l.bystander.IP, 1, interval); p.Received > 0 && time.Since(begin) < life {
		t.Errorf("the cut was not restored: %+v", p)
	}
	netlab.Eventually(t, 40*time.Second, "the cut ends", func() error {
		if p := l.pod.PingNobody(t, l.bystander.IP, 1, interval); p.Received == 0 {
			return errors.New("no answer")
		}
		return nil
	})
	if took := time.Since(begin); took < life-time.Second {
		t.Errorf("the cut ended after %s, want %s", took, life)
	}
	release()
	a.waitForAnswer(30 * time.Second)
	if left := a.faults(); len(left) != 1 || left[0].Name != "stays" {
		t.Errorf("left are %+v", left)
	}
	a.wantHeld(1)
}

// occupy listens in a host as another process would, which is no agent, until release
// or the end of the test.
func occupy(t *testing.T, h *netlab.Host, network, address string) (release func()) {
	t.Helper()
	var listener net.Listener
	if err := h.Do(func() (err error) {
		listener, err = net.Listen(network, address)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	release = func() { _ = server.Close() }
	t.Cleanup(release)
	return release
}
