//go:build e2e

package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A matrix has the RTT between any two members of a TidbCluster, the least of some pings:
// how busy this machine is makes some of them late, and a fault all of them.
type matrix map[pair]time.Duration

// pair are two members, the first by name first: {pd-0 tikv-1}.
type pair struct{ a, b string }

// cut is the RTT of pairs none of whose pings is answered.
const cut = time.Duration(-1)

// How pairs are measured, and how much more than asked for is no fault.
const (
	matrixPings = 10
	mostPings   = 4 * matrixPings // two seconds of them
	matrixWait  = time.Second
	slack       = 5 * time.Millisecond
)

// pingsOf is how many pings a try to measure has: twice as many as the one before. A machine
// that has too much to do wakes agents late, and can do so for all of a few packets.
func pingsOf(try int) int { return min(matrixPings<<min(try-1, 8), mostPings) }

// settles is how long a matrix may take to become what it should be. A change takes well
// under a second; the rest is for a machine that does other things.
const settles = 30 * time.Second

// matrix measures from each member to those after it by name, all at once.
func (w *world) matrix(ctx context.Context, cluster string, pings int) (matrix, error) {
	pods, err := w.membersOf(ctx, cluster)
	if err != nil {
		return nil, err
	}
	var (
		all      sync.WaitGroup
		mu       sync.Mutex
		found    = matrix{}
		problems error
	)
	for i, from := range pods[:len(pods)-1] {
		all.Go(func() {
			var targets []string
			for _, to := range pods[i+1:] {
				targets = append(targets, to.Status.PodIP)
			}
			results, err := w.measure(ctx, from.Name, matrixWait, pings, targets...)
			mu.Lock()
			defer mu.Unlock()
			problems = errors.Join(problems, err)
			for _, to := range pods[i+1:] {
				member := func(name string) string { return strings.TrimPrefix(name, cluster+"-") }
				found[pair{member(from.Name), member(to.Name)}] = least(results[to.Status.PodIP])
			}
		})
	}
	all.Wait()
	return found, problems
}

// least returns the shortest RTT, or cut.
func least(m measured) time.Duration {
	if len(m.RTTs) == 0 {
		return cut
	}
	return slices.Min(m.RTTs)
}

// is reports whether an RTT is what was asked for: no less, and not much more.
func is(got, want time.Duration) bool {
	if want == cut || got == cut {
		return got == want
	}
	const clock = 200 * time.Microsecond // an agent's clock and the pinger's read at different moments
	return got >= want-clock && got <= want+slack
}

// A wish says which RTT a pair is to have.
type wish func(p pair) time.Duration

// flat wishes no fault.
func flat(pair) time.Duration { return 0 }

// between wishes an RTT for pairs with one member of each side; nil is for all members that
// are not of the other side. All other pairs are flat.
func between(from, to []string, rtt time.Duration) wish {
	if to == nil {
		to = slices.DeleteFunc(members(faulted), func(m string) bool { return slices.Contains(from, m) })
	}
	return func(p pair) time.Duration {
		if slices.Contains(from, p.a) && slices.Contains(to, p.b) || slices.Contains(from, p.b) && slices.Contains(to, p.a) {
			return rtt
		}
		return 0
	}
}

// late says which pairs took longer than wished, which a machine that has too much to do can
// make of any of them.
func (m matrix) late(want wish) map[pair]bool {
	late := map[pair]bool{}
	for p, got := range m {
		late[p] = want(p) != cut && got > want(p)+slack
	}
	return late
}

// with returns the matrix with the RTTs of another one for some pairs.
func (m matrix) with(other matrix, pairs map[pair]bool) matrix {
	all := maps.Clone(m)
	for p, is := range pairs {
		if rtt, known := other[p]; is && known {
			all[p] = rtt
		}
	}
	return all
}

// unlike describes the pairs that are not as wished, some of them if they are many; "" for
// none.
func (m matrix) unlike(want wish) string {
	const described = 8
	var text strings.Builder
	count := 0
	pairs := slices.SortedFunc(maps.Keys(m), func(x, y pair) int { return cmp.Or(cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b)) })
	for _, p := range pairs {
		if is(m[p], want(p)) {
			continue
		}
		if count++; count <= described {
			fmt.Fprintf(&text, "\n%s - %s: %s, want %s", p.a, p.b, inWords(m[p]), inWords(want(p)))
		}
	}
	if count > described {
		fmt.Fprintf(&text, "\nand %d pairs more", count-described)
	}
	return text.String()
}

func inWords(rtt time.Duration) string {
	if rtt == cut {
		return "no answer"
	}
	return rtt.Round(10 * time.Microsecond).String()
}

// wantMatrix measures until every pair of the TidbCluster faulted is as wished, and logs how
// long that took. A pair that was as wished, and is late in the next try, still counts: on a
// busy machine hardly ever all of them are in time at once. One that is early counts no more.
func (w *world) wantMatrix(ctx context.Context, t *testing.T, what string, want wish) {
	t.Helper()
	w.wantMatrixWithin(ctx, t, settles, what, want)
}

// wantMatrixWithin is wantMatrix with another limit.
func (w *world) wantMatrixWithin(ctx context.Context, t *testing.T, limit time.Duration, what string, want wish) {
	t.Helper()
	w.wantMatrixOf(ctx, t, faulted, limit, what, want)
}

func (w *world) wantMatrixOf(ctx context.Context, t *testing.T, cluster string, limit time.Duration, what string, want wish) {
	t.Helper()
	start := time.Now()
	var known matrix
	for try := 1; ; try++ {
		began := time.Now()
		got, err := w.matrix(ctx, cluster, pingsOf(try))
		known = got.with(known, got.late(want))
		problem := known.unlike(want)
		if err == nil && problem == "" {
			t.Logf("%s: as wished after %s", what, began.Sub(start).Round(time.Millisecond))
			return
		}
		if began.Sub(start) > limit { // not what the try before has measured too early
			t.Fatalf("%s: not in %d tries, at last: %v%s", what, try, err, problem)
		}
		if try == 1 {
			t.Logf("%s: not at once: %v%s", what, err, problem)
		}
	}
}

// wantLeast measures from a pod with a pinger to an address, or by TCP to one with a port,
// until the RTT is what it should be.
func (w *world) wantLeast(ctx context.Context, t *testing.T, from, target string, want time.Duration) {
	t.Helper()
	start := time.Now()
	for try := 1; ; try++ {
		began := time.Now()
		results, err := w.measure(ctx, from, matrixWait, pingsOf(try), target)
		got := least(results[target])
		if err == nil && is(got, want) {
			return
		}
		if began.Sub(start) > settles {
			t.Fatalf("from %s to %s: not in %d tries, at last: %v, %s, want %s", from, target, try, err, inWords(got), inWords(want))
		}
	}
}

// wantFlat waits until no pair of the TidbCluster faulted has a fault.
func (w *world) wantFlat(ctx context.Context, t *testing.T, what string) {
	t.Helper()
	w.wantMatrix(ctx, t, what, flat)
}
