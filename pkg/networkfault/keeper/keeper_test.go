package keeper

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// Every agent is asked once, also the one that is to hold nothing, and has what it is to
// hold and nothing else.
func TestAgentsGetTheirFaults(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		stale := target(2)
		f.replace(stale, newRequest(&Target{Faults: []decide.Fault{delay("stale", time.Second, time.Time{})}}, nil, time.Now()).faults)
		k.Set(cluster, []Target{target(1, delay("a", 20*time.Millisecond, time.Time{}), delay("b", time.Millisecond, time.Time{})), stale})
		synctest.Wait()
		if got := f.held("10.0.0.1") + "; " + f.held("10.0.0.2"); got != "a=20ms b=1ms; " {
			t.Errorf("agents hold %q", got)
		}
		wantState(t, k, 1, "holds a=20ms b=1ms")
		wantState(t, k, 2, "holds")
		if len(f.saw().changed) != 2 || f.saw().changed[0] != cluster || len(f.saw().putRight) != 0 {
			t.Errorf("told of %v and put right %v, want one change of each agent", f.saw().changed, f.saw().putRight)
		}
		if got := len(f.take()); got != 2 {
			t.Errorf("%d requests, want one for each agent", got)
		}
		if got := testutil.ToFloat64(k.metrics.pushes.WithLabelValues("ok")); got != 2 {
			t.Errorf("%v requests are counted as ok", got)
		}
		logged := f.saw().logged
		slices.Sort(logged) // "level"=0 is first
		want := []string{`an earlier controller that nobody asks for" "pod"={"name"="p-2"`, `confirmed its faults" "pod"={"name"="p-1" "namespace"="shop"} "count"=2`}
		if !slices.EqualFunc(logged, want, strings.Contains) || !strings.Contains(logged[0], `"faults"=["stale"]`) {
			t.Errorf("logged %q", logged)
		}
	})
}

func TestTheSameIsNotAskedAgain(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		end := time.Now().Add(time.Hour).Round(time.Second)
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, end)), target(2)})
		synctest.Wait()
		f.take()
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, end.UTC())), target(2)})
		synctest.Wait()
		if got := f.take(); len(got) != 0 {
			t.Errorf("asked %+v", got)
		}
		for what, changed := range map[string]func(*Target){
			"another fault":   func(t *Target) { t.Faults = append(t.Faults, delay("b", time.Millisecond, end)) },
			"another delay":   func(t *Target) { t.Faults[0].Impairment.Delay++ },
			"another end":     func(t *Target) { t.Faults[0].End = end.Add(time.Second) },
			"another object":  func(t *Target) { t.Faults[0].Objects = []string{"a", "b"} },
			"another cap":     func(t *Target) { t.MaxDuration = time.Minute },
			"another pod":     func(t *Target) { t.UID = "other" },
			"another address": func(t *Target) { t.Addr = t.Addr.Next() },
			"another start":   func(t *Target) { t.Instance = "2" },
			"nothing":         func(t *Target) { t.Faults = nil },
		} {
			one := target(1, delay("a", time.Millisecond, end))
			changed(&one)
			k.Set(cluster, []Target{one, target(2)})
			synctest.Wait()
			if got := f.take(); len(got) != 1 || got[0].Pod.Name != "p-1" {
				t.Errorf("%s: asked %d times, want once", what, len(got))
			}
			k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, end)), target(2)})
			synctest.Wait()
			f.take()
		}
	})
}

// A fault lives for as long as its agent is asked, and for a lease after that. An agent
// that confirmed that it holds nothing is left alone.
func TestRenewals(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{})), target(2)})
		synctest.Wait()
		f.take()
		time.Sleep(time.Hour)
		all := f.take()
		if len(all) < 60 || len(all) > 72 {
			t.Errorf("%d requests in an hour", len(all))
		}
		for i, a := range all {
			if a.Pod.Name != "p-1" {
				t.Errorf("asked %s, which holds nothing", a.Pod.Name)
			}
			if i > 0 && (a.at.Sub(all[i-1].at) < 50*time.Second || a.at.Sub(all[i-1].at) > time.Minute) {
				t.Errorf("renewed after %s", a.at.Sub(all[i-1].at))
			}
		}
		if len(f.saw().changed) != 2 || len(f.saw().logged) != 1 || len(f.saw().putRight) != 0 {
			t.Errorf("renewals are told: changed %v, log %q, put right %q", f.saw().changed, f.saw().logged, f.saw().putRight)
		}
		wantState(t, k, 1, "holds a=1ms")
	})
}

// The agents of a controller that has just started are all asked at once, and renewed
// one after the other.
func TestAFleetIsRenewedBitByBit(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		var all []Target
		for n := range byte(200) {
			all = append(all, target(n, delay("a", time.Millisecond, time.Time{})))
		}
		k.Set(cluster, all)
		synctest.Wait()
		if got := len(f.take()); got != 200 {
			t.Fatalf("%d requests at the start", got)
		}
		for range 10 {
			time.Sleep(time.Minute)
			perSecond := map[int64]int{}
			for _, a := range f.take() {
				perSecond[a.at.Unix()]++
			}
			for _, count := range perSecond {
				if count > 20 {
					t.Errorf("%d of 200 renewals in a second", count)
				}
			}
		}
	})
}

// A fault under a short cap is renewed in time.
func TestACapIsNoGap(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		one := target(1, delay("a", time.Millisecond, time.Time{}))
		one.MaxDuration = 10 * time.Second
		k.Set(cluster, []Target{one})
		for range 100 {
			time.Sleep(time.Second)
			synctest.Wait()
			if got := f.held("10.0.0.1"); got != "a=1ms" {
				t.Fatalf("holds %q", got)
			}
		}
		if len(f.saw().changed) != 1 {
			t.Errorf("told of %d changes", len(f.saw().changed))
		}
	})
}

// A fault that ends is over at the agent and in the state, without a request.
func TestEnds(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		start := time.Now()
		k.Set(cluster, []Target{target(1,
			delay("both", 3*time.Millisecond, start.Add(5*time.Second), "one", "two"),
			delay("one", time.Millisecond, start.Add(5*time.Second)),
			delay("two", 2*time.Millisecond, time.Time{}))})
		synctest.Wait()
		wantState(t, k, 1, "holds both=3ms one=1ms two=2ms")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		wantState(t, k, 1, "holds both=3ms two=2ms")
		if got := f.held("10.0.0.1"); got != "both=3ms two=2ms" {
			t.Errorf("agent holds %q", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantState(t, k, 1, "holds two=2ms")
		if got := len(f.saw().changed); got != 3 {
			t.Errorf("told of %d changes, want 3", got)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		last := f.take()
		if got := last[len(last)-1].faults; len(got) != 1 || got[0].Name != "two" || got[0].Duration != "5m0s" {
			t.Errorf("renewed %+v", got)
		}
		if len(f.saw().putRight) != 0 {
			t.Errorf("put right %q", f.saw().putRight)
		}
	})
}

// All that has ended is asked for no more.
func TestAllEnded(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Now().Add(30*time.Second)))})
		time.Sleep(time.Hour)
		if got := len(f.take()); got > 3 {
			t.Errorf("asked %d times", got)
		}
		wantState(t, k, 1, "holds")
	})
}

func TestSetBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, f := newKeeper(t)
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{})), target(2)})
		time.Sleep(time.Hour)
		if got := f.take(); len(got) != 0 {
			t.Errorf("asked %v before it ran", got)
		}
		if got := k.outOfStep(); got != 1 { // the other is to hold nothing
			t.Errorf("%v out of step", got)
		}
		stop := run(t, k)
		synctest.Wait()
		if got := f.take(); len(got) != 2 || f.held("10.0.0.1") != "a=1ms" {
			t.Errorf("asked %v", got)
		}
		if got := k.outOfStep(); got != 0 {
			t.Errorf("%v out of step", got)
		}
		stop()
		k.Set(cluster, []Target{target(1)})
		time.Sleep(time.Minute)
		if got := f.take(); len(got) != 0 {
			t.Errorf("asked %v after it ran", got)
		}
	})
}

// When Run returns, no request is in flight.
func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, f := newKeeper(t)
		f.hang()
		stop := run(t, k)
		k.Set(cluster, []Target{target(1), target(2)})
		synctest.Wait()
		if f.saw().now != 2 {
			t.Fatalf("%d requests in flight, want both", f.saw().now)
		}
		start := time.Now()
		stop()
		if f.saw().now != 0 || time.Since(start) > 0 {
			t.Errorf("%d requests in flight after %s", f.saw().now, time.Since(start))
		}
		for _, o := range outcomes() {
			if got := testutil.ToFloat64(k.metrics.pushes.WithLabelValues(string(o))); got != 0 {
				t.Errorf("%v requests are counted as %s", got, o)
			}
		}
	})
}

// An agent that is missing is forgotten, and a TidbCluster that is gone too.
func TestForgetting(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{})), target(2, delay("a", time.Millisecond, time.Time{}))})
		synctest.Wait()
		f.take()
		k.Set(cluster, []Target{target(2, delay("a", time.Millisecond, time.Time{}))})
		time.Sleep(5 * time.Minute)
		if slices.ContainsFunc(f.take(), func(a asked) bool { return a.Pod.Name == "p-1" }) {
			t.Error("an agent that is gone was asked")
		}
		if got := statesOf(k, cluster); len(got) != 1 || say(got["p-2"]) != "holds a=1ms" {
			t.Errorf("states %v", got)
		}
		if got := f.held("10.0.0.1"); got != "" {
			t.Errorf("after the lease it holds %q", got)
		}
		k.Set(cluster, nil)
		k.Set(cluster, nil)
		synctest.Wait()
		if len(k.agents) != 0 || len(statesOf(k, cluster)) != 0 {
			t.Errorf("%d clusters are kept", len(k.agents))
		}
	})
}
