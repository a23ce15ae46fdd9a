package keeper

import (
	"testing"
	"testing/synctest"
	"time"
)

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
