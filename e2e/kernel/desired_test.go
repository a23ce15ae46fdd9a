//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

func TestPutReplacesTheWholeSet(t *testing.T) {
	a := startAgent(t)
	x := a.lab.bystander.More
	first := api.Fault{Name: "first", Peers: []string{x[0]}, Delay: "20ms"}
	second := api.Fault{Name: "second", Peers: []string{x[1]}, Delay: "30ms"}
	third := api.Fault{Name: "third", Peers: []string{x[2]}, Delay: "40ms"}
	changed := second
	changed.Delay = "50ms"
	for _, step := range []struct {
		set  []api.Fault
		want map[string]string
	}{
		{[]api.Fault{first, second}, map[string]string{"first": "add", "second": "add"}},
		{[]api.Fault{first, second}, map[string]string{"first": "keep", "second": "keep"}},
		{[]api.Fault{changed, third}, map[string]string{"first": "remove", "second": "change", "third": "add"}},
		{[]api.Fault{third}, map[string]string{"second": "remove", "third": "keep"}},
		{nil, map[string]string{"third": "remove"}},
	} {
		answer := a.apply(step.set...)
		if len(answer.Changes) != len(step.want) {
			t.Errorf("changes %+v, want %v", answer.Changes, step.want)
		}
		for _, change := range answer.Changes {
			if step.want[change.Name] != change.Action || change.Meaning == "" {
				t.Errorf("%s: %s (%s), want %s", change.Name, change.Action, change.Meaning, step.want[change.Name])
			}
		}
	}
}

// While one fault is changed, added and removed, the packets of another that
// stays are neither lost nor early nor late.
func TestUnchangedFaultsLoseNothing(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	x := l.bystander.More
	stays := api.Fault{Name: "stays", Peers: []string{x[0]}, Delay: "20ms", Direction: "both"}
	other := func(delay string) api.Fault {
		return api.Fault{Name: "other", Peers: []string{x[1], l.bystander.More6[1]}, Delay: delay, Direction: "both"}
	}
	netlab.Retry(t, "a fault that stays", func() error {
		a.apply(stays)
		defer a.apply()
		stop := make(chan struct{})
		f := flow{From: l.pod, To: l.bystander, Target: x[0], Port: 7000, Count: 100_000, Burst: 1, Pace: machine.SteadyPace, Size: 64, Settle: 300 * time.Millisecond, Until: stop}
		back := f
		back.From, back.To, back.Source, back.Target, back.Port = f.To, f.From, f.Target, "", 7001
		ends := []func() (netlab.Traffic, error){f.Start(), back.Start()}
		for i := range 10 {
			a.apply(stays, other("30ms"))
			a.putOne(other("40ms"))
			if i%2 == 0 {
				a.remove("other")
			} else {
				a.apply(stays)
			}
		}
		close(stop)
		var err error
		for _, end := range ends {
			got, failed := end()
			err = errors.Join(err, failed, got.Ordered())
			if first := netlab.Quantile(got.Delays(), 0); first < 20*time.Millisecond {
				err = errors.Join(err, fmt.Errorf("a datagram took %s: its fault was away for a moment", first))
			}
			if middle := machine.Typical(got.Delays()); middle >= 30*time.Millisecond {
				err = errors.Join(err, fmt.Errorf("the median datagram took %s: it met the other fault", middle))
			}
		}
		return err
	})
}

// One bad fault in a set, or one too many, and nothing of it is done.
func TestInvalidSetChangesNothing(t *testing.T) {
	netlab.EngineIndependent(t)
	a := startAgent(t)
	good := api.Fault{Name: "good", Delay: "20ms"}
	a.apply(good)
	good.Delay = "30ms"
	peer := func(f api.Fault) api.Fault { f.Peers = []string{"192.0.2.1"}; return f }
	for field, bad := range map[string]api.Fault{
		"faults[1].name":            peer(api.Fault{Name: "Bad", Delay: "1ms"}),
		"faults[1].delay":           peer(api.Fault{Name: "bad", Delay: "601s"}),
		"faults[1].jitter":          peer(api.Fault{Name: "bad", Delay: "1ms", Jitter: "2ms"}),
		"faults[1].loss.percent":    peer(api.Fault{Name: "bad", Loss: lossOf(101)}),
		"faults[1].peers[0]":        {Name: "bad", Delay: "1ms", Peers: []string{"tikv-1"}},
		"faults[1].partition":       peer(api.Fault{Name: "bad", Partition: true, Delay: "1ms"}),
		"faults[1].duration":        peer(api.Fault{Name: "bad", Delay: "1ms", Duration: "soon"}),
		"faults[1].rate.perSecond":  peer(api.Fault{Name: "bad", Rate: &api.Rate{PerSecond: "fast"}}),
		"faults[1].reorder":         peer(api.Fault{Name: "bad", Reorder: &api.Reorder{Percent: 1}, Loss: lossOf(1)}),
		"faults[1].corrupt.percent": peer(api.Fault{Name: "bad", Corrupt: &api.Chance{Percent: -1}}),
	} {
		problem := a.refused(http.StatusBadRequest, good, bad)
		if len(problem.Errors) != 1 || problem.Errors[0].Field != field || problem.Errors[0].Accepted == "" {
			t.Errorf("%s: %+v", field, problem)
		}
	}
	var many []api.Fault
	for i := range 16 {
		many = append(many, api.Fault{Name: fmt.Sprintf("f%d", i), Peers: []string{fmt.Sprintf("192.0.2.%d", i+1)}, Delay: "1ms"})
	}
	a.refused(http.StatusBadRequest, many...)
}

// Identical requests at once leave what one leaves.
func TestConcurrentIdenticalPutsLeaveOneTree(t *testing.T) {
	a := startAgent(t)
	set := []api.Fault{
		{Name: "latency", Delay: "20ms"},
		{Name: "loss", Peers: []string{a.lab.bystander.IP}, Loss: lossOf(1)},
		{Name: "back", Direction: "ingress", Delay: "5ms"},
	}
	a.apply(set...)
	once := tree(kernelState(t, a.lab.pod))
	a.apply()
	body := encode(t, set...)
	var group sync.WaitGroup
	for range 40 {
		group.Go(func() {
			if r, err := a.ask(http.MethodPut, api.PathFaults, body); err != nil || r.status != http.StatusOK {
				t.Errorf("status %d, %v: %s", r.status, err, r.body)
			}
		})
	}
	group.Wait()
	a.wantHeld(len(set))
	if after := tree(kernelState(t, a.lab.pod)); !slices.Equal(after, once) {
		t.Errorf("one PUT leaves:\n%s\n40 PUTs leave:\n%s", strings.Join(once, "\n"), strings.Join(after, "\n"))
	}
}

// Of two who read the same revision, the second to write is told so.
func TestRevisions(t *testing.T) {
	netlab.EngineIndependent(t)
	a := startAgent(t)
	var set api.FaultSet
	empty := a.send(http.MethodGet, api.PathFaults, "", http.StatusOK, &set).header.Get("ETag")
	var made api.Changes
	first := a.send(http.MethodPut, api.PathFaults, encode(t, api.Fault{Name: "mine", Delay: "20ms"}), http.StatusOK, &made, "If-Match", empty).header.Get("ETag")
	if empty == "" || first == "" || first == empty {
		t.Fatalf("ETag %q, and after a change %q", empty, first)
	}
	before := kernelState(t, a.lab.pod)
	theirs := encode(t, api.Fault{Name: "theirs", Delay: "30ms"})
	var problem api.Problem
	a.send(http.MethodPut, api.PathFaults, theirs, http.StatusPreconditionFailed, &problem, "If-Match", empty)
	a.send(http.MethodDelete, api.PathFaults+"/mine", "", http.StatusPreconditionFailed, &problem, "If-Match", empty)
	a.send(http.MethodGet, api.PathLatency+"/1ms", "", http.StatusPreconditionFailed, &problem, "If-Match", empty)
	if after := kernelState(t, a.lab.pod); after != before {
		t.Errorf("a stale request changed the kernel, before:\n%s\nafter:\n%s", before, after)
	}
	again := a.send(http.MethodGet, api.PathFaults, "", http.StatusOK, &set).header.Get("ETag")
	if again != first {
		t.Errorf("ETag %q, and read again %q", first, again)
	}
	a.send(http.MethodPut, api.PathFaults, theirs, http.StatusOK, &made, "If-Match", `"other", `+again)
	a.wantHeld(1)
}
