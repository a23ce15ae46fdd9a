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
		wantState(t, k, 1, "holds; silent: connection refused")
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
		want := []string{"does not answer", "has confirmed its faults", "holds its faults again"}
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
