package safety

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/networkfault/compile"
)

// Without the pods that are named for a lost quorum it is not lost: when they are healthy
// and reach everybody. Each of them is named for what is true.
func TestNamedPodsAreTheCause(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tc, pods := drawCluster(t)
		f := FactsOf(tc, pods)
		s := state{severed: f.severedBy(drawEffects(t, pods))}
		ours := rapid.SampledFrom([]severed{nil, s.severed}).Draw(t, "ours")
		s.graph = f.graph(s.severed, ours)
		if s.verdict = s.graph.verdict(); f.unknown != "" || s.verdict == kept {
			return
		}
		cut, down := f.culprits(s)
		named := slices.Concat(cut, down)
		isOf := func(pod string, pair compile.Pair) bool { return pair.A == pod || pair.B == pod }
		rest := make(severed)
		for pair := range s.severed {
			if !slices.ContainsFunc(named, func(pod string) bool { return isOf(pod, pair) }) {
				rest[pair] = true
			}
		}
		for _, pod := range cut {
			if slices.Contains(down, pod) || !slices.ContainsFunc(slices.Collect(maps.Keys(s.severed)), func(p compile.Pair) bool { return isOf(pod, p) }) {
				t.Fatalf("%s is cut off by %v, and not healthy are %v", pod, s.severed, down)
			}
		}
		well, sick := f.recovered(), f
		for _, pod := range down {
			if !slices.Contains(s.graph.down, pod) {
				t.Fatalf("%s is not healthy, and is not among %v", pod, s.graph.down)
			}
			sick = sick.with(pod, well)
		}
		if after := sick.graph(rest, ours).verdict(); after == kept || s.verdict == lostByPD && after == lostByTiKV {
			return
		}
		t.Fatalf("%v is lost without %v of %v, not healthy %v", s.verdict, cut, s.severed, down)
	})
}

// with returns facts in which a pod is as in others.
func (f Facts) with(pod string, others Facts) Facts {
	f.pods, f.members, f.tikv = maps.Clone(f.pods), slices.Clone(f.members), slices.Clone(f.tikv)
	f.pods[pod] = others.pods[pod]
	for i := range f.members {
		if f.members[i].pod == pod {
			f.members[i] = others.members[i]
		}
	}
	for i := range f.tikv {
		if f.tikv[i].pod == pod {
			f.tikv[i] = others.tikv[i]
		}
	}
	return f
}

// A pod is cut off from PD's leader if it is severed from one of some members that are a
// majority and not severed from each other; if there is no majority, from any member.
func TestCutOffIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tc, pods := drawCluster(t)
		f := FactsOf(tc, pods)
		apart := f.severedBy(drawEffects(t, pods))
		isApart := func(a, b string) bool { return apart[compile.Pair{A: min(a, b), B: max(a, b)}] }
		want := make(map[string]bool)
		leaders := make(map[string]bool)
		for set := range 1 << len(f.members) {
			var some []string
			for i, m := range f.members {
				if set>>i&1 == 1 {
					some = append(some, m.pod)
				}
			}
			together := !slices.ContainsFunc(some, func(a string) bool { return slices.ContainsFunc(some, func(b string) bool { return isApart(a, b) }) })
			if together && 2*len(some) > len(f.members) {
				for _, pod := range some {
					leaders[pod] = true
				}
			}
		}
		for _, p := range pods {
			for _, m := range f.members {
				if (leaders[m.pod] || len(leaders) == 0) && isApart(p.Name, m.pod) {
					want[p.Name] = true
				}
			}
		}
		if got := f.cutOff(apart); !reflect.DeepEqual(got, want) {
			t.Fatalf("%v are cut off by %v, want %v", got, apart, want)
		}
	})
}
