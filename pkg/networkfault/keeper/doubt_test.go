package keeper

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// An agent in doubt is renewed at once, and what its kernel had lost is told. It is not asked
// more often than each 10 s, and not at all if it is to hold nothing.
func TestDoubt(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		k.Doubt(cluster, "p-1", "p-7")
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{})), target(2)})
		for synctest.Wait(); untilDue(k, "p-1") < 4*doubtAfter; synctest.Wait() {
			time.Sleep(time.Second)
		}
		doubt := func() (requests int) {
			t.Helper()
			k.Doubt(cluster, "p-1", "p-2", "p-7")
			synctest.Wait()
			for _, a := range f.take() {
				if a.Pod.Name != "p-1" {
					t.Errorf("asked %s", a.Pod.Name)
				}
				requests++
			}
			return requests
		}
		time.Sleep(doubtAfter)
		f.take()
		f.mu.Lock()
		f.lost[netip.MustParseAddr("10.0.0.1")] = "a"
		f.mu.Unlock()
		if got := doubt(); got != 1 {
			t.Errorf("%d requests to an agent in doubt", got)
		}
		if got := f.saw().putRight; len(got) != 1 || got[0] != "p-1: a restore" {
			t.Errorf("put right %q", got)
		}
		if got := doubt(); got != 0 {
			t.Errorf("%d requests to an agent that was just asked", got)
		}
		time.Sleep(doubtAfter)
		synctest.Wait()
		if got := len(f.take()); got != 1 {
			t.Errorf("%d requests once it may be asked again", got)
		}
		if got := f.saw().putRight; len(got) != 1 {
			t.Errorf("put right %q, although nothing was lost", got)
		}
	})
}

// untilDue returns after what time an agent is asked again.
func untilDue(k *Keeper, pod string) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Until(k.agents[cluster][pod].due)
}
