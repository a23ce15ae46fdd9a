package keeper

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// gaps returns the times between requests.
func gaps(all []asked) (gaps []time.Duration) {
	for i := 1; i < len(all); i++ {
		gaps = append(gaps, all[i].at.Sub(all[i-1].at))
	}
	return gaps
}

// The agent of a new pod has its faults within half a second of its listening, and is
// no failure before it has been tried for a while.
func TestANewPod(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		f.fail(errRefused)
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}))})
		time.Sleep(patience - time.Millisecond)
		wantState(t, k, 1, "holds")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		wantState(t, k, 1, "holds; failed: connection refused")
		if len(f.saw().changed) != 1 {
			t.Errorf("told of %d changes, want that of the failure", len(f.saw().changed))
		}
		time.Sleep(time.Minute - patience - time.Second)
		for _, gap := range gaps(f.take()) {
			if gap < 200*time.Millisecond || gap > 500*time.Millisecond {
				t.Errorf("tried again after %s", gap)
			}
		}
		f.respond(nil)
		time.Sleep(500 * time.Millisecond)
		wantState(t, k, 1, "holds a=1ms")
		want := []string{"does not hold its faults", "holds other faults", "holds its faults again"}
		if !slices.EqualFunc(f.saw().logged, want, strings.Contains) {
			t.Errorf("logged %q", f.saw().logged)
		}
	})
}

// Later the tries become rare, and are as many as ever for a new pod of the name.
func TestTriesBecomeRare(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		f.fail(errRefused)
		k.Set(cluster, []Target{target(1)})
		time.Sleep(time.Minute)
		f.take()
		time.Sleep(10 * time.Minute)
		all := gaps(f.take())
		if len(all) > 60 || !slices.IsSorted(all) || all[0] < 5*time.Second || all[len(all)-1] != 30*time.Second {
			t.Errorf("tried again after %v", all)
		}
		again := target(1)
		again.UID = "new"
		k.Set(cluster, []Target{again})
		time.Sleep(30 * time.Second)
		if got := len(f.take()); got < 60 {
			t.Errorf("a new pod was tried %d times in half a minute", got)
		}
		again.Addr = again.Addr.Next()
		f.respond(nil)
		k.Set(cluster, []Target{again})
		synctest.Wait()
		if got := f.take(); len(got) != 1 || got[0].Addr != again.Addr {
			t.Errorf("asked %+v", got)
		}
	})
}

// A renewal that fails is tried again before the life of the faults is over. Then the
// agent holds nothing.
func TestAnAgentThatIsGone(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}))})
		synctest.Wait()
		f.fail(errRefused)
		time.Sleep(time.Minute + patience)
		synctest.Wait()
		wantState(t, k, 1, "holds a=1ms; failed: connection refused")
		if got := k.outOfStep(); got != 1 {
			t.Errorf("%v out of step", got)
		}
		time.Sleep(4*time.Minute - patience)
		synctest.Wait()
		wantState(t, k, 1, "holds; failed: connection refused")
		if len(f.saw().changed) != 3 {
			t.Errorf("told of %d changes, want that it holds, that it fails, and that it holds nothing", len(f.saw().changed))
		}
		f.respond(nil)
		time.Sleep(longest)
		wantState(t, k, 1, "holds a=1ms")
		if len(f.saw().putRight) != 0 {
			t.Errorf("put right %q, and the life was over", f.saw().putRight)
		}
	})
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
		wantState(t, k, 1, "holds; failed: no answer within 5s")
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
		wantState(t, k, 1, "holds; failed: connection refused")
		f.fail(problem(500, "netlink: no"))
		time.Sleep(time.Minute)
		wantState(t, k, 1, "holds; failed: netlink: no")
		if len(f.saw().changed) != 2 {
			t.Errorf("told of %d changes", len(f.saw().changed))
		}
	})
}

// What an agent refuses for good is told at once and tried seldom, and at once again
// when it is to hold something else.
func TestRefusals(t *testing.T) {
	for _, status := range []int{400, 409, 413, 422, 501} {
		keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
			f.fail(problem(status, "not so"))
			k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}), delay("b", time.Millisecond, time.Time{}))})
			synctest.Wait()
			wantState(t, k, 1, "holds; failed: not so; refused a b")
			time.Sleep(2 * time.Minute)
			for _, gap := range gaps(f.take()) {
				if gap != 30*time.Second {
					t.Errorf("%d: tried again after %s", status, gap)
				}
			}
			f.respond(nil)
			k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}))})
			synctest.Wait()
			wantState(t, k, 1, "holds a=1ms")
		})
	}
}

// A refusal was of another target once the target changes.
func TestARefusalIsForgotten(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		f.fail(problem(422, "not so"))
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}))})
		synctest.Wait()
		wantState(t, k, 1, "holds; failed: not so; refused a")
		before := len(f.saw().changed)
		f.slowly(time.Second)
		k.Set(cluster, []Target{target(1, delay("b", time.Millisecond, time.Time{}))})
		wantState(t, k, 1, "holds")
		if got := len(f.saw().changed); got != before+1 {
			t.Errorf("told of %d changes, want one", got-before)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		wantState(t, k, 1, "holds b=1ms")
	})
}

// What an agent holds stays in force while it refuses something else.
func TestARefusalChangesNothing(t *testing.T) {
	for status, want := range map[int]string{
		409: "holds a=1ms; failed: not so; refused b",
		403: "holds a=1ms; failed: not so",
		500: "holds", // may have changed something
		503: "holds",
		421: "holds", // is another pod
	} {
		keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
			k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}))})
			synctest.Wait()
			f.respond(func(_ context.Context, _ Target, faults []api.Fault) (api.Changes, error, bool) {
				return api.Changes{}, problem(status, "not so", "faults[1].loss"), len(faults) > 1
			})
			k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}), delay("b", time.Millisecond, time.Time{}))})
			synctest.Wait()
			wantState(t, k, 1, want)
			time.Sleep(patience)
			synctest.Wait()
			if !strings.Contains(want, "failed") {
				wantState(t, k, 1, want+"; failed: not so")
			}
		})
	}
}

func TestRetryAfterIsRespected(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{0: time.Second, 7 * time.Second: 7 * time.Second, time.Hour: 30 * time.Second} {
		keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
			f.fail(fmt.Errorf("PUT: %w", &client.Error{Problem: api.Problem{Type: "about:blank", Status: 429, Detail: "wait"}, RetryAfter: after}))
			k.Set(cluster, []Target{target(1)})
			time.Sleep(40 * time.Second)
			if all := gaps(f.take()); len(all) == 0 || all[0] != want {
				t.Errorf("asked to wait %s: tried again after %v", after, all)
			}
		})
	}
}

// Agents that do not answer keep no others waiting, once it is known that they don't.
func TestSilentAgentsHaveHalfOfTheWorkers(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		var all []Target
		for n := range byte(100) {
			all = append(all, target(n, delay("a", time.Millisecond, time.Time{})))
		}
		f.respond(func(ctx context.Context, t Target, _ []api.Fault) (api.Changes, error, bool) {
			if t.Addr.As4()[3] >= 50 {
				<-ctx.Done()
			}
			return api.Changes{}, ctx.Err(), ctx.Err() != nil
		})
		k.Set(cluster, all)
		time.Sleep(5 * time.Minute)
		if f.saw().most > 10 {
			t.Errorf("%d requests at once, want at most 10", f.saw().most)
		}
		f.take()
		for n := range byte(50) {
			wantState(t, k, int(n), "holds a=1ms")
			all[n].Faults = []decide.Fault{delay("b", time.Millisecond, time.Time{})}
		}
		start := time.Now()
		k.Set(cluster, slices.Clone(all))
		synctest.Wait()
		for n := range byte(50) {
			wantState(t, k, int(n), "holds b=1ms")
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("those that answer waited for %s", took)
		}
		if f.saw().now != 5 {
			t.Errorf("%d requests to silent agents at once, want half of 10", f.saw().now)
		}
	}, func(o *Options) { o.Parallel = 10 })
}

// Thousands of agents that refuse connections are not tried twice a second each.
func TestTriesAreBounded(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		f.respond(func(context.Context, Target, []api.Fault) (api.Changes, error, bool) {
			return api.Changes{}, errRefused, true
		})
		var all []Target
		for n := range 2000 {
			one := target(byte(n))
			one.Pod.Name = fmt.Sprintf("p-%d", n)
			one.Addr = netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
			all = append(all, one)
		}
		k.Set(cluster, all)
		time.Sleep(10 * time.Second)
		if got := len(f.take()); got < 5000 || got > 2000+500+10*retriesPerSecond {
			t.Errorf("%d tries in 10 s", got)
		}
	})
}

// One fault that an agent refuses does not keep it from holding the others, for as long
// as the target has it.
func TestTheOthersOfARefusedFault(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		refused := true
		f.respond(func(_ context.Context, _ Target, faults []api.Fault) (api.Changes, error, bool) {
			for i, one := range faults {
				if one.Name == "b" && refused {
					return api.Changes{}, problem(422, "this kernel can't", fmt.Sprintf("faults[%d].duplicate", i)), true
				}
			}
			return api.Changes{}, nil, false
		})
		a, b := delay("a", time.Millisecond, time.Time{}), delay("b", time.Millisecond, time.Time{})
		k.Set(cluster, []Target{target(1, a, b)})
		for range 20 {
			time.Sleep(time.Minute)
			synctest.Wait()
			wantState(t, k, 1, "holds a=1ms; failed: this kernel can't; refused b")
			if got := f.held("10.0.0.1"); got != "a=1ms" {
				t.Fatalf("it holds %q, want the fault that it can", got)
			}
		}
		if n := len(f.take()); n > 2*2*20+2 {
			t.Errorf("asked %d times in 20 minutes", n)
		}
		f.mu.Lock()
		refused = false
		f.mu.Unlock()
		time.Sleep(time.Minute)
		wantState(t, k, 1, "holds a=1ms b=1ms")
	})
}
