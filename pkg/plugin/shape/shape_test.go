package shape_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/plugin/shape"
)

// names are those of so many pods: a, b, c, and so on.
func names(n int) []string {
	var all []string
	for i := range n {
		all = append(all, string(rune('a'+i)))
	}
	return all
}

func text(cuts []shape.Cut) string {
	var all []string
	for _, c := range cuts {
		all = append(all, strings.Join(c.From, "")+"|"+strings.Join(c.To, ""))
	}
	return strings.Join(all, " ")
}

func TestCuts(t *testing.T) {
	for _, test := range []struct {
		shape shape.Shape
		pods  int
		want  string // or the error
	}{
		{shape.Halves, 0, "halves needs at least 2 pods, and there are 0"},
		{shape.Halves, 1, "halves needs at least 2 pods, and there are 1"},
		{shape.Halves, 2, "a|b"},
		{shape.Halves, 3, "a|bc"},
		{shape.Halves, 6, "abc|def"},
		{shape.Bridge, 2, "bridge needs at least 3 pods, and there are 2"},
		{shape.Bridge, 3, "a|c"},
		{shape.Bridge, 4, "ab|d"},
		{shape.Bridge, 5, "ab|de"},
		{shape.Isolate, 1, "isolate needs at least 2 pods, and there are 1"},
		{shape.Isolate, 2, "a|b"},
		{shape.Isolate, 4, "a|bcd"},
		{shape.Ring, 3, "ring needs at least 4 pods, and there are 3"},
		{shape.Ring, 4, "a|c b|d"},
		{shape.Ring, 5, "a|cd b|de c|e"},
		{shape.Ring, 6, "a|d b|e c|f"},
		{shape.Ring, 7, "a|de b|ef c|fg d|g"},
		{"star", 5, `there is no shape "star"`},
	} {
		cuts, err := test.shape.Cuts(names(test.pods))
		got := text(cuts)
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s of %d: %s, want %s", test.shape, test.pods, got, test.want)
		}
	}
}

// severed are the pairs that a shape cuts, as a sees b.
type severed map[[2]string]bool

// reach returns which of some pods a pod reaches, itself included.
func (s severed) reach(pod string, pods []string) []string {
	return slices.DeleteFunc(slices.Clone(pods), func(other string) bool { return s[[2]string{pod, other}] })
}

// draw draws pods and has a shape cut them. No pair is cut twice, none is of a pod with itself,
// and nobody is cut off who isn't there.
func draw(t *rapid.T, s shape.Shape) ([]string, severed) {
	var pods []string
	for i := range rapid.IntRange(s.Least(), 80).Draw(t, "pods") {
		pods = append(pods, fmt.Sprintf("basic-tikv-%02d", i))
	}
	cuts, err := s.Cuts(pods)
	if err != nil {
		t.Fatal(err)
	}
	all := severed{}
	for _, c := range cuts {
		if len(c.From) == 0 || len(c.To) == 0 {
			t.Fatalf("a side of %v is empty", c)
		}
		for _, a := range c.From {
			for _, b := range c.To {
				if a == b || all[[2]string{a, b}] || !slices.Contains(pods, a) || !slices.Contains(pods, b) {
					t.Fatalf("%s and %s are cut off, again or for nothing", a, b)
				}
				all[[2]string{a, b}], all[[2]string{b, a}] = true, true
			}
		}
	}
	return pods, all
}

func TestHalvesDoNotReachEachOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pods, cut := draw(t, shape.Halves)
		one := cut.reach(pods[0], pods)
		other := cut.reach(pods[len(pods)-1], pods)
		if both := slices.Sorted(slices.Values(slices.Concat(one, other))); !slices.Equal(both, pods) || len(other)-len(one) > 1 || len(one) > len(other) {
			t.Fatalf("halves %v and %v", one, other)
		}
		for _, pod := range pods {
			if got := cut.reach(pod, pods); !slices.Equal(got, one) && !slices.Equal(got, other) {
				t.Fatalf("%s reaches %v, which is no half", pod, got)
			}
		}
	})
}

func TestBridgeHasOneBridge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pods, cut := draw(t, shape.Bridge)
		bridges := slices.DeleteFunc(slices.Clone(pods), func(pod string) bool { return len(cut.reach(pod, pods)) < len(pods) })
		if len(bridges) != 1 {
			t.Fatalf("bridges %v", bridges)
		}
		one, other := cut.reach(pods[0], pods), cut.reach(pods[len(pods)-1], pods)
		if len(one)+len(other) != len(pods)+1 || max(len(one), len(other))-min(len(one), len(other)) > 1 {
			t.Fatalf("sides with the bridge %v and %v", one, other)
		}
	})
}

func TestIsolateSparesTheOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pods, cut := draw(t, shape.Isolate)
		for i, pod := range pods {
			want := pods[1:]
			if i == 0 {
				want = pods[:1]
			}
			if got := cut.reach(pod, pods); !slices.Equal(got, want) {
				t.Fatalf("%s reaches %v, want %v", pod, got, want)
			}
		}
	})
}

// Each sees a majority of its own, and not more than one beyond it.
func TestRingHasAMajorityForEach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pods, cut := draw(t, shape.Ring)
		seen := map[string]string{}
		for _, pod := range pods {
			got := cut.reach(pod, pods)
			if majority := len(pods)/2 + 1; len(got) < majority || len(got) > majority+1 {
				t.Fatalf("%s reaches %d of %d", pod, len(got), len(pods))
			}
			key := strings.Join(got, " ")
			if seen[key] != "" {
				t.Fatalf("%s and %s reach the same: %s", seen[key], pod, key)
			}
			seen[key] = pod
		}
	})
}
