//go:build kernel

package kernel

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Whenever the agent is killed, the next one has the old set or the new one,
// whole, and the kernel holds it.
func TestKilledInTheMiddleOfAnApply(t *testing.T) {
	a := startAgent(t)
	sets := [2][]api.Fault{twelve(a.lab, 20*time.Millisecond), twelve(a.lab, 25*time.Millisecond)[3:]}
	for i := range sets[1] {
		sets[1][i].Direction = "both"
	}
	var names [2]string
	for i, set := range sets {
		a.apply(set...)
		names[i] = encode(t, a.faults()...)
	}
	made := 0
	rounds := 20
	if machine.SlowStart {
		rounds = 6
	}
	for round := range rounds {
		next := round % 2
		asked, body := make(chan struct{}), encode(t, sets[next]...)
		go func() {
			defer close(asked)
			_, _ = a.ask(http.MethodPut, api.PathFaults, body) // it may be killed before it answers
		}()
		<-time.After(rand.N(30 * time.Millisecond))
		a.stop(syscall.SIGKILL)
		<-asked
		a.start()
		got := encode(t, a.faults()...)
		switch got {
		case names[next]:
			made++
			a.wantHeld(len(sets[next]))
		case names[1-next]:
			a.wantHeld(len(sets[1-next]))
		default:
			t.Fatalf("round %d: killed between\n%s\nand\n%s\nthe next agent has\n%s", round, names[1-next], names[next], got)
		}
		if warnings := a.status().Warnings; len(warnings) > 0 {
			t.Errorf("round %d: warnings %q", round, warnings)
		}
	}
	t.Logf("of %d changes that were killed %d were made", rounds, made)
}

func TestDamagedStateIsSetAside(t *testing.T) {
	netlab.EngineIndependent(t)
	a := startAgent(t)
	a.apply(api.Fault{Name: "some", Loss: lossOf(50), Peers: []string{a.lab.bystander.IP}})
	a.stop(syscall.SIGKILL)
	file := filepath.Join(a.state, "state.json")
	if err := os.WriteFile(file, []byte(`{"version":1,"faults":[{"name":`), 0o600); err != nil {
		t.Fatal(err)
	}
	a.start()
	// Nothing says when it ends, so nothing may stay.
	if left := a.faults(); len(left) != 0 {
		t.Errorf("faults %+v", left)
	}
	aside, err := filepath.Glob(file + ".damaged-*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside: %q, %v", aside, err)
	}
	if warnings := strings.Join(a.status().Warnings, "\n"); !strings.Contains(warnings, aside[0]) {
		t.Errorf("warnings %q do not name %s", warnings, aside[0])
	}
	if p := a.lab.pod.Ping(t, a.lab.bystander.IP, 20, interval); p.Received != p.Sent {
		t.Errorf("%d of %d pings", p.Received, p.Sent)
	}
	a.set("20ms")
}

// What only the kernel remembers: a plain delay is adopted, everything else
// removed, since nobody knows when it was to end.
func TestLeftoversWithoutState(t *testing.T) {
	for name, c := range map[string]struct {
		left    []api.Fault
		adopted bool
	}{
		"a plain latency": {[]api.Fault{{Name: "latency", Delay: "20ms"}}, true},
		"a loss":          {[]api.Fault{{Name: "latency", Loss: lossOf(50)}}, false},
		"ingress":         {[]api.Fault{{Name: "back", Delay: "20ms", Direction: "ingress"}}, false},
		"several":         {[]api.Fault{{Name: "latency", Delay: "20ms"}, {Name: "cut", Partition: true, Peers: []string{theLab.bystander.IP}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := startAgent(t)
			before := kernelState(t, a.lab.pod)
			a.apply(c.left...)
			a.stop(syscall.SIGKILL)
			if err := os.Remove(filepath.Join(a.state, "state.json")); err != nil {
				t.Fatal(err)
			}
			a.start()
			left := a.faults()
			if !c.adopted {
				if after := kernelState(t, a.lab.pod); len(left) != 0 || after != before {
					t.Errorf("faults %+v; kernel before:\n%s\nafter:\n%s", left, before, after)
				}
				return
			}
			if len(left) != 1 || fmt.Sprint(left[0].Name, left[0].Delay) != "latency20ms" {
				t.Errorf("adopted: %+v", left)
			}
			a.wantHeld(1)
		})
	}
}
