package keeper

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// What an agent holds that does not answer a renewal is not known, once it has been tried
// for a while and until it says so.
func TestAnAgentThatIsGone(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}))})
		synctest.Wait()
		f.fail(errRefused)
		time.Sleep(untilFirstRenewal(k))
		synctest.Wait()
		time.Sleep(patience - time.Millisecond)
		synctest.Wait()
		wantState(t, k, 1, "holds a=1ms")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		wantState(t, k, 1, "holds; silent: connection refused")
		if got := k.outOfStep(); got != 1 {
			t.Errorf("%v out of step", got)
		}
		time.Sleep(decide.Lease)
		synctest.Wait()
		wantState(t, k, 1, "holds; silent: connection refused")
		if len(f.saw().changed) != 2 {
			t.Errorf("told of %d changes, want that it holds and that it is silent", len(f.saw().changed))
		}
		f.respond(nil)
		time.Sleep(longest)
		wantState(t, k, 1, "holds a=1ms")
		if len(f.saw().putRight) != 0 {
			t.Errorf("put right %q, and the life was over", f.saw().putRight)
		}
		want := []string{"has confirmed its faults", "does not answer", "has confirmed its faults", "holds its faults again"}
		if !slices.EqualFunc(f.saw().logged, want, strings.Contains) {
			t.Errorf("logged %q", f.saw().logged)
		}
	})
}

// untilFirstRenewal returns how long it is until the agent of p-1 is asked again.
func untilFirstRenewal(k *Keeper) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Until(k.agents[cluster]["p-1"].due)
}

// An agent that was lost holds what it says then, and nothing because it was started
// again, got another target, or refused that.
func TestALostAgentMustSayWhatItHolds(t *testing.T) {
	a, b := delay("a", time.Millisecond, time.Time{}), delay("b", time.Millisecond, time.Time{})
	for what, test := range map[string]struct {
		change func(*Target)
		fail   error
		want   string
	}{
		"started again":      {func(t *Target) { t.Instance = "2" }, errRefused, "holds"},
		"another target":     {func(t *Target) { t.Faults = append(t.Faults, b) }, errRefused, "holds; silent: connection refused"},
		"refused":            {func(t *Target) { t.Faults = []decide.Fault{b} }, problem(422, "not so"), "holds; failed: not so; refused b"},
		"asks to come later": {func(t *Target) { t.Faults = []decide.Fault{a, b} }, problem(429, "wait"), "holds; failed: wait"},
	} {
		keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
			k.Set(cluster, []Target{target(1, a)})
			synctest.Wait()
			f.fail(errRefused)
			time.Sleep(time.Minute + patience)
			synctest.Wait()
			wantState(t, k, 1, "holds; silent: connection refused")
			next := target(1, a)
			test.change(&next)
			f.fail(test.fail)
			k.Set(cluster, []Target{next})
			wantNoClaim(t, k, what)
			synctest.Wait()
			wantNoClaim(t, k, what)
			wantState(t, k, 1, test.want)
			f.respond(nil)
			time.Sleep(longest)
			synctest.Wait()
			wantState(t, k, 1, say(holding(next.Faults)))
		})
	}
}

// wantNoClaim checks that p-1 is not said to hold anything.
func wantNoClaim(t *testing.T, k *Keeper, when string) {
	t.Helper()
	if got := statesOf(k, cluster)["p-1"].Holds; len(got) > 0 {
		t.Errorf("%s: it is said to hold %v", when, got)
	}
}

func holding(faults []decide.Fault) (s decide.AgentState) {
	for _, f := range faults {
		s.Holds = append(s.Holds, f.Fault)
	}
	return s
}

// That an agent holds nothing is told when it has said so, and is not known while nobody
// knows what it holds.
func TestAnAgentThatHoldsNothing(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		isKnown := func() bool { return statesOf(k, cluster)["p-1"].Known }
		f.fail(errRefused)
		k.Set(cluster, []Target{target(1)})
		time.Sleep(time.Minute)
		if isKnown() {
			t.Error("it is known what an agent holds that was never heard of")
		}
		f.respond(nil)
		told := len(f.saw().changed)
		time.Sleep(time.Minute)
		if !isKnown() || len(f.saw().changed) == told {
			t.Error("nobody says that an agent holds nothing")
		}
		f.fail(problem(500, "no"))
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}))})
		time.Sleep(time.Minute)
		if isKnown() {
			t.Error("it is known what an agent holds that has failed to do what it was asked for")
		}
	})
}

// An agent that is known not to run is told at once, also while it still answers. What it
// holds is known again when it has answered after it was started again.
func TestAnAgentThatDoesNotRun(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		one := target(1, delay("a", time.Millisecond, time.Time{}))
		one.Instance = "1"
		k.Set(cluster, []Target{one})
		synctest.Wait()
		for _, err := range []error{nil, errRefused, problem(500, "no")} {
			f.respond(nil)
			if err != nil {
				f.fail(err)
			}
			one.Down = true
			k.Set(cluster, []Target{one})
			wantState(t, k, 1, "holds; down: it does not run")
			time.Sleep(time.Minute)
			wantState(t, k, 1, "holds; down: it does not run")
			if got := k.outOfStep(); got != 1 {
				t.Errorf("%v out of step", got)
			}
			f.fail(errRefused)
			one.Instance, one.Down = one.Instance+"1", false
			k.Set(cluster, []Target{one})
			wantState(t, k, 1, "holds")
			synctest.Wait()
			wantState(t, k, 1, "holds")
			f.respond(nil)
			time.Sleep(longestYoung)
			synctest.Wait()
			wantState(t, k, 1, "holds a=1ms")
			if got := k.outOfStep(); got != 0 {
				t.Errorf("%v out of step", got)
			}
		}
		want := []string{"has confirmed its faults"}
		for range 3 {
			want = append(want, "does not answer", "has confirmed its faults", "holds its faults again")
		}
		if got := f.saw().logged; !slices.EqualFunc(got, want, strings.Contains) {
			t.Errorf("logged %q", got)
		}
	})
}

// An agent that is started again and listens within seconds is not told as silent.
func TestAShortRestartIsNotTold(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}))})
		synctest.Wait()
		told := len(f.saw().changed)
		f.fail(errRefused)
		again := target(1, delay("a", time.Millisecond, time.Time{}))
		again.Instance = "2"
		k.Set(cluster, []Target{again})
		time.Sleep(patience - time.Second)
		wantState(t, k, 1, "holds a=1ms")
		f.respond(nil)
		time.Sleep(time.Minute)
		wantState(t, k, 1, "holds a=1ms")
		if got := len(f.saw().changed); got != told {
			t.Errorf("told of %d changes", got-told)
		}
	})
}

// An agent that is to be rid of its faults and does not answer is out of step, whether it
// was asked in vain or may have done it.
func TestASilentAgentIsOutOfStep(t *testing.T) {
	for what, silence := range map[string]func(*fleet){"refuses connections": func(f *fleet) { f.fail(errRefused) }, "hangs": (*fleet).hang} {
		keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
			k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{})), target(2)})
			synctest.Wait()
			silence(f)
			k.Set(cluster, []Target{target(1), target(2)})
			for range 4 {
				time.Sleep(time.Minute)
				if got := k.outOfStep(); got != 1 {
					t.Errorf("%s: %v out of step", what, got)
				}
			}
			f.respond(nil)
			time.Sleep(longest)
			synctest.Wait()
			if got := k.outOfStep(); got != 0 {
				t.Errorf("%s and answers again: %v out of step", what, got)
			}
		})
	}
}

// Nobody knows what came of a request without an answer.
func TestTimedOutIsUnknown(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}))})
		synctest.Wait()
		f.hang()
		k.Set(cluster, []Target{target(1, delay("a", 2*time.Millisecond, time.Time{}))})
		synctest.Wait()
		wantState(t, k, 1, "holds a=1ms")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		wantState(t, k, 1, "holds; silent: timeout after 5s")
		f.respond(nil)
		time.Sleep(6 * time.Second)
		wantState(t, k, 1, "holds a=2ms")
		if len(f.saw().putRight) != 0 {
			t.Errorf("put right %q", f.saw().putRight)
		}
	})
}

// While an agent is silent, its words stay, however each try fails.
func TestWordsStay(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		f.fail(errRefused)
		k.Set(cluster, []Target{target(1)})
		time.Sleep(patience)
		synctest.Wait()
		f.hang()
		time.Sleep(time.Minute)
		wantState(t, k, 1, "holds; silent: connection refused")
		f.fail(problem(500, "netlink: no"))
		time.Sleep(time.Minute)
		wantState(t, k, 1, "holds; failed: netlink: no")
		if len(f.saw().changed) != 2 {
			t.Errorf("told of %d changes", len(f.saw().changed))
		}
	})
}
