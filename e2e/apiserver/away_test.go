//go:build apiserver

package apiserver

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An API server that is away when a program starts, as after the node has booted, ends
// no program, however far it has come: it is alive, says what it waits for, and is
// ready once the API server answers. A controller that leads already is another case:
// it ends when it can't renew its lease.
func TestAPIServerAwayAtStart(t *testing.T) {
	for name, steps := range map[string][]int64{ // how many requests are answered before
		injectorName:   {0, 1, 4, 12},
		controllerName: {0, 1, 4},
	} {
		for _, answered := range steps {
			t.Run(fmt.Sprintf("%s after %d", name, answered), func(t *testing.T) {
				g := newGate(t, name)
				g.allowed.Store(answered)
				g.away.Store(true)
				p := startBehind(t, name, g)
				t.Parallel()
				enough := g.dropped.Load() + 3
				must(t, p.until(t.Context(), func() error {
					if dropped := g.dropped.Load(); dropped < enough {
						return fmt.Errorf("tried %d times", dropped)
					}
					if _, err := get(t.Context(), "http://"+p.health+"/healthz"); err != nil {
						return err
					}
					_, err := get(t.Context(), "http://"+p.health+"/readyz")
					if err == nil {
						return final{errors.New("ready while the API server is away")}
					}
					if !strings.Contains(err.Error(), "not ready") {
						return err
					}
					return nil
				}))
				g.away.Store(false)
				must(t, p.waitReady(t.Context()))
			})
		}
	}
}

// A signal ends a program that waits for the API server.
func TestSignalWhileTheAPIServerIsAway(t *testing.T) {
	for _, name := range []string{injectorName, controllerName} {
		g := newGate(t, name)
		g.away.Store(true)
		p := startBehind(t, name, g)
		must(t, p.until(t.Context(), func() error {
			_, err := get(t.Context(), "http://"+p.health+"/healthz")
			return err
		}))
		must(t, p.cmd.Process.Signal(syscall.SIGTERM))
		select {
		case <-p.exited:
		case <-time.After(30 * time.Second):
			t.Fatalf("%s did not end", name)
		}
		if !p.cmd.ProcessState.Success() {
			t.Errorf("%s ended with %s", name, p.cmd.ProcessState)
		}
	}
}

// startBehind starts a program that reaches the API server through g. It ends with the
// test.
func startBehind(t *testing.T, name string, g *gate) *process {
	t.Helper()
	flags := []string{"--kubeconfig=" + g.kubeconfig}
	if name == injectorName {
		return newReplica(t, flags...).process
	}
	p, err := world.startProcess(t.Context(), name, flags...)
	must(t, err)
	t.Cleanup(p.kill)
	return p
}
