package keeper

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// slowly has every agent take a while.
func (f *fleet) slowly(takes time.Duration) {
	f.respond(func(ctx context.Context, _ Target, _ []api.Fault) (api.Changes, error, bool) {
		select {
		case <-time.After(takes):
			return api.Changes{}, nil, false
		case <-ctx.Done():
			return api.Changes{}, ctx.Err(), true
		}
	})
}

// A target that changes during a request is brought right after it. The answer says what
// the agent holds until then, and nothing about the new target.
func TestAChangeInFlight(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		f.slowly(time.Second)
		start := time.Now()
		for i := range 4 { // 1 ms at 0 s, 2 ms at 250 ms, ...
			k.Set(cluster, []Target{target(1, delay("a", time.Duration(i+1)*time.Millisecond, time.Time{}))})
			time.Sleep(250 * time.Millisecond)
		}
		synctest.Wait()
		wantState(t, k, 1, "holds a=1ms")
		if got := k.outOfStep(); got != 1 {
			t.Errorf("%v out of step", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		wantState(t, k, 1, "holds a=4ms")
		all := f.take()
		if len(all) != 2 || all[1].at.Sub(start) != time.Second {
			t.Errorf("%d requests, the last after %s; want the first and the last target", len(all), all[len(all)-1].at.Sub(start))
		}
		if got := k.outOfStep(); got != 0 || len(f.saw().putRight) != 0 {
			t.Errorf("%v out of step, put right %q", got, f.saw().putRight)
		}
	})
}

// A refusal of the target before says nothing about the one now.
func TestAStaleRefusal(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		f.respond(func(_ context.Context, _ Target, faults []api.Fault) (api.Changes, error, bool) {
			time.Sleep(time.Second)
			return api.Changes{}, problem(422, "not so"), faults[0].Name == "bad"
		})
		k.Set(cluster, []Target{target(1, delay("bad", time.Millisecond, time.Time{}))})
		time.Sleep(500 * time.Millisecond)
		k.Set(cluster, []Target{target(1, delay("good", time.Millisecond, time.Time{}))})
		time.Sleep(time.Second)
		synctest.Wait()
		wantState(t, k, 1, "holds")
		time.Sleep(time.Second)
		wantState(t, k, 1, "holds good=1ms")
		if len(f.saw().changed) != 1 || len(f.saw().logged) != 1 {
			t.Errorf("told of %d changes, logged %q", len(f.saw().changed), f.saw().logged)
		}
	})
}

// A request that runs out of time after its target has changed leaves nothing known.
func TestAStaleTimeout(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}))})
		synctest.Wait()
		f.hang()
		k.Set(cluster, []Target{target(1, delay("a", 2*time.Millisecond, time.Time{}))})
		time.Sleep(time.Second)
		k.Set(cluster, []Target{target(1, delay("a", 3*time.Millisecond, time.Time{}))})
		wantState(t, k, 1, "holds a=1ms")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		wantState(t, k, 1, "holds")
		f.respond(nil)
		time.Sleep(10 * time.Second)
		wantState(t, k, 1, "holds a=3ms")
	})
}

// Nothing of the pod before counts for a new one, which does not wait for a request to
// the old one.
func TestAReplacedPod(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}))})
		synctest.Wait()
		f.hang()
		k.Set(cluster, []Target{target(1, delay("a", 2*time.Millisecond, time.Time{}))})
		time.Sleep(time.Second)
		again := target(2, delay("a", 2*time.Millisecond, time.Time{}))
		again.Pod.Name = "p-1"
		f.slowly(time.Second)
		f.take()
		before := len(f.saw().changed)
		k.Set(cluster, []Target{again})
		wantState(t, k, 1, "holds")
		if len(f.saw().changed) != before+1 {
			t.Errorf("told of %d changes, want that nothing is known", len(f.saw().changed)-before)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		wantState(t, k, 1, "holds a=2ms")
		if got := f.take(); len(got) != 1 || got[0].UID != "uid-2" {
			t.Errorf("asked %v", got)
		}
		if logged := f.saw().logged; len(logged) != 2 {
			t.Errorf("logged %q", logged)
		}
	})
}

// An agent that is gone and comes back has one request in flight at most.
func TestGoneAndBack(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		f.respond(func(ctx context.Context, _ Target, _ []api.Fault) (api.Changes, error, bool) {
			<-ctx.Done()
			time.Sleep(time.Second) // still on its way
			return api.Changes{}, ctx.Err(), true
		})
		one := []Target{target(1, delay("a", time.Millisecond, time.Time{}))}
		k.Set(cluster, one)
		time.Sleep(time.Second)
		f.respond(nil)
		k.Set(cluster, nil)
		synctest.Wait()
		if got := len(statesOf(k, cluster)); got != 0 {
			t.Errorf("%d states of what is gone", got)
		}
		k.Set(cluster, one)
		synctest.Wait()
		if f.saw().now != 1 || len(f.take()) != 1 {
			t.Errorf("%d requests in flight", f.saw().now)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		wantState(t, k, 1, "holds a=1ms")
		if len(f.saw().changed) != 1 {
			t.Errorf("told of %d changes", len(f.saw().changed))
		}
	})
}

// What a request is told of is over before the next word of the agent: Changed may call
// the Keeper.
func TestChangedMayAsk(t *testing.T) {
	var k *Keeper
	var states []string
	keeping(t, func(_ *testing.T, keeper *Keeper, _ *fleet) {
		k = keeper
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}))})
		synctest.Wait()
		if len(states) != 1 || states[0] != "holds a=1ms" {
			t.Errorf("when told, states were %q", states)
		}
	}, func(o *Options) {
		o.Changed = func(c types.NamespacedName) { states = append(states, say(statesOf(k, c)["p-1"])) }
	})
}

// An agent that was started is asked at once, and what it had lost is put right.
func TestAStartedAgentIsAskedAtOnce(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		one := target(1, delay("a", time.Millisecond, time.Time{}))
		one.Instance = "first"
		k.Set(cluster, []Target{one})
		synctest.Wait()
		f.mu.Lock()
		delete(f.holds, one.Addr) // it lost its state
		f.mu.Unlock()
		again := one
		again.Instance = "second"
		k.Set(cluster, []Target{again})
		wantState(t, k, 1, "holds a=1ms") // until it says otherwise
		synctest.Wait()
		if got := f.held(one.Addr.String()); got != "a=1ms" {
			t.Errorf("it holds %q, want its fault", got)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.putRight) != 1 || f.putRight[0] != "p-1: a add" {
			t.Errorf("put right: %q", f.putRight)
		}
	})
}
