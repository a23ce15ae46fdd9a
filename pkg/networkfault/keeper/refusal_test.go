package keeper

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

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

// An agent whose disk is full can't lengthen what it holds: that is told for as long as it lasts,
// its faults end by themselves, and are there again when the disk has room. Nobody else has
// changed them.
func TestAFullDisk(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}))})
		synctest.Wait()
		f.fail(problem(500, "write the state file: no space left on device"))
		for _, held := range []string{"a=1ms", "", ""} {
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			wantState(t, k, 1, "holds; failed: write the state file: no space left on device")
			if got := f.held("10.0.0.1"); got != held {
				t.Errorf("it holds %q, want %q", got, held)
			}
		}
		f.respond(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		wantState(t, k, 1, "holds a=1ms")
		if got := f.saw().putRight; len(got) > 0 {
			t.Errorf("put right %q", got)
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
