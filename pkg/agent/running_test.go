package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/fault"
)

// breakable is an engine that runs until it breaks.
type breakable struct {
	*enginetest.Engine
	breaks chan error
}

func newBreakable() breakable { return breakable{&enginetest.Engine{}, make(chan error, 1)} }

func (b breakable) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-b.breaks:
		return err
	}
}

// runEngines runs an agent's engines, which opening them chooses one after the other.
// It returns after the first.
func runEngines(t *testing.T, choices ...choice) (*running, *control.Control) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	tasks := newTasks(log)
	var opened int
	r := newRunning(fault.Scope{Devices: []string{"eth0"}}, tasks, func(fault.Scope) choice {
		opened++
		return choices[min(opened, len(choices))-1]
	})
	c := control.New(r, "", 0, log)
	go tasks.keep(t.Context(), "run an engine", longestEngineWait, func(ctx context.Context, works func()) error {
		return r.run(ctx, c.Restore, works)
	})
	<-r.tried
	return r, c
}

func delay() control.Request {
	f := fault.Fault{Name: fault.Latency, Match: fault.Match{Direction: fault.Egress}, Impairment: fault.Impairment{Delay: time.Millisecond}}
	return control.Request{Edit: control.ReplaceOne(f)}
}

// The engine that follows one that broke has the faults, in the scope of now.
func TestAnEngineThatBreaksIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newBreakable(), newBreakable()
		r, c := runEngines(t, choice{engine: first, name: "first"}, none("queue 2340 has a reader", nil), choice{engine: second, name: "second"})
		if _, err := c.Change(delay()); err != nil || len(first.Get().Faults) != 1 {
			t.Fatalf("the first engine: %v", err)
		}
		first.breaks <- errors.New("the socket is gone")
		synctest.Wait()
		if e := r.describe(); e.Name != api.EngineNone || !strings.Contains(e.Reason, "engine first failed: the socket is gone") {
			t.Errorf("after that, %+v", e)
		}
		longer := delay()
		longer.Edit = control.ReplaceAll([]fault.Fault{{Name: fault.Latency, Match: fault.Match{Direction: fault.Egress}, Impairment: fault.Impairment{Delay: time.Second}}})
		if _, err := c.Change(longer); !errors.Is(err, control.ErrNoEngine) || !strings.Contains(err.Error(), "the socket is gone") {
			t.Errorf("a change without an engine: %v", err)
		}
		if err := c.Follow(fault.Scope{Devices: []string{"net1"}}); !errors.Is(err, control.ErrNoEngine) {
			t.Errorf("follow without an engine: %v", err)
		}
		time.Sleep(firstWait)
		synctest.Wait()
		if e := r.describe(); e.Name != api.EngineNone || e.Reason != "queue 2340 has a reader" {
			t.Errorf("while none opens, %+v", e)
		}
		time.Sleep(2 * firstWait)
		synctest.Wait()
		k := second.Get()
		if e := r.describe(); e.Name != "second" || len(k.Faults) != 1 || !slices.Equal(k.Scope.Devices, []string{"net1"}) {
			t.Errorf("%+v runs with %+v on %v, want the second engine with the fault on net1", e, k.Faults, k.Scope.Devices)
		}
	})
}

// What an earlier agent left is adopted by the first engine that works.
func TestTheFirstEngineThatWorksAdopts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := []fault.Fault{{Name: fault.Latency, Match: fault.Match{Direction: fault.Egress}, Impairment: fault.Impairment{Delay: 1}}}
		works := breakable{enginetest.New(enginetest.Kernel{Faults: left}), nil}
		_, c := runEngines(t, none("no CAP_NET_ADMIN", nil), choice{engine: works, name: "works"})
		if len(c.Desired().Faults) != 0 {
			t.Fatalf("without an engine %+v is desired", c.Desired().Faults)
		}
		time.Sleep(firstWait)
		synctest.Wait()
		if len(c.Desired().Faults) != 1 || len(works.Get().Faults) != 1 {
			t.Errorf("%+v is desired, and the kernel has %+v", c.Desired().Faults, works.Get().Faults)
		}
	})
}

// Faults that could not be restored are tried again while the engine runs.
func TestFaultsAreRestoredLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := breakable{enginetest.New(enginetest.Kernel{AdoptErr: errors.New("dump interrupted")}), nil}
		r, c := runEngines(t, choice{engine: e, name: "some"})
		synctest.Wait()
		if all := r.tasks.failures(); len(all) != 1 || !strings.Contains(all[0], "dump interrupted") {
			t.Errorf("failures %q", all)
		}
		e.Set(func(k *enginetest.Kernel) {
			k.AdoptErr = nil
			k.Faults = []fault.Fault{{Name: fault.Latency, Match: fault.Match{Direction: fault.Egress}, Impairment: fault.Impairment{Delay: 1}}}
		})
		time.Sleep(longestWait)
		synctest.Wait()
		if all := r.tasks.failures(); len(all) != 0 || len(c.Desired().Faults) != 1 {
			t.Errorf("failures %q, desired %+v", all, c.Desired().Faults)
		}
	})
}
