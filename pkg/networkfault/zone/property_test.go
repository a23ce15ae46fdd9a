package zone_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/zone"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

func drawPods(t *rapid.T) []zone.Pod {
	var all []zone.Pod
	for _, component := range []tidbcluster.Component{tidbcluster.Discovery, tidbcluster.PD, tidbcluster.TiKV, tidbcluster.TiDB} {
		for i := range rapid.IntRange(0, 6).Draw(t, string(component)) {
			p := zone.Pod{Name: fmt.Sprintf("basic-%s-%d", component, i), Component: component}
			if label := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "label"); label != "" {
				p.NodeLabels = map[string]string{corev1.LabelTopologyZone: label}
			}
			all = append(all, p)
		}
	}
	return all
}

// drawSpec draws a topology of at most the zones a, b and c.
func drawSpec(t *rapid.T) *v1alpha1.NetworkTopologySpec {
	spec := &v1alpha1.NetworkTopologySpec{Defaults: &v1alpha1.LinkDefaults{
		SameZone: rapid.SampledFrom([]v1alpha1.RoundTrip{"", "1us"}).Draw(t, "same zone"), OtherZone: rapid.SampledFrom([]v1alpha1.RoundTrip{"", "2ms"}).Draw(t, "other zone"),
	}}
	switch rapid.SampledFrom([]string{"label", "list", "spread"}).Draw(t, "zones") {
	case "list":
		spec.Zones = []v1alpha1.Zone{
			{Name: "c", Members: []v1alpha1.Selector{"tikv(0)", "discovery"}}, {Name: "a", Members: []v1alpha1.Selector{"pd", "tikv(2)"}}, {Name: "b", Members: []v1alpha1.Selector{"tidb, tikv(1)"}},
		}
	case "spread":
		spec.Spread = 3
	}
	zones := []v1alpha1.ZoneName{"a", "b", "c"}
	for _, from := range zones {
		for _, to := range zones {
			if rapid.Bool().Draw(t, "is linked") {
				spec.Links = append(spec.Links, v1alpha1.Link{Between: []v1alpha1.ZoneName{from, to}, RTT: rapid.SampledFrom([]v1alpha1.RoundTrip{"0ms", "3us", "20ms"}).Draw(t, "rtt")})
			}
		}
	}
	return spec
}

// result is all that is made of a spec and pods.
type result struct {
	zones zone.Zones
	links map[compile.Way]int64
	what  string
}

func resultOf(t *rapid.T, spec *v1alpha1.NetworkTopologySpec, pods []zone.Pod) result {
	rules, err := zone.Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	r := result{links: map[compile.Way]int64{}}
	if r.zones, err = rules.Assign(pods, zone.Before{}); err != nil {
		t.Fatal(err)
	}
	links, err := rules.Links(r.zones.Names)
	if err != nil {
		t.Fatal(err)
	}
	for way, i := range links {
		r.links[way] = int64(i.Delay)
	}
	slices.Sort(r.zones.Vacant)
	r.what = rules.What(r.zones.Names)
	return r
}

func TestOrderMeansNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, pods := drawSpec(t), drawPods(t)
		other := spec.DeepCopy()
		other.Zones, other.Links = rapid.Permutation(spec.Zones).Draw(t, "zones"), rapid.Permutation(spec.Links).Draw(t, "links")
		if a, b := resultOf(t, spec, pods), resultOf(t, other, rapid.Permutation(pods).Draw(t, "pods")); !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v, and in another order %+v", a, b)
		}
	})
}

// Every pod is in one zone, which is one of the names, or in none and listed; but for
// discovery, which is listed nowhere.
func TestEveryPodIsSomewhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, pods := drawSpec(t), drawPods(t)
		z := resultOf(t, spec, pods).zones
		seen := map[string]int{}
		for _, name := range z.Names {
			for _, pod := range z.Pods(name) {
				seen[pod]++
			}
		}
		for _, pod := range z.Unzoned {
			seen[pod]++
		}
		for _, p := range pods {
			want := 1
			if p.Component == tidbcluster.Discovery && len(spec.Zones) == 0 {
				want = 0
			}
			if p.Component == tidbcluster.Discovery && len(spec.Zones) > 0 && z.Of[p.Name] != "c" {
				t.Fatalf("%s, which zone c names, is in %q", p.Name, z.Of[p.Name])
			}
			if seen[p.Name] != want {
				t.Fatalf("%s is %d times in %+v, want %d", p.Name, seen[p.Name], z, want)
			}
		}
	})
}

// The pods of each component are dealt out evenly, and a pod that comes moves no other.
func TestASpreadIsBalanced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := &v1alpha1.NetworkTopologySpec{Spread: rapid.Int32Range(2, 13).Draw(t, "zones"), Defaults: &v1alpha1.LinkDefaults{OtherZone: "1ms"}}
		pods := drawPods(t)
		all := resultOf(t, spec, pods).zones
		counts := map[tidbcluster.Component]map[string]int{}
		for _, p := range pods {
			if counts[p.Component] == nil {
				counts[p.Component] = map[string]int{}
			}
			counts[p.Component][all.Of[p.Name]]++
		}
		delete(counts, tidbcluster.Discovery)
		for component, count := range counts {
			for _, a := range all.Names {
				for _, b := range all.Names {
					if count[a]-count[b] > 1 || a < b && count[a] < count[b] {
						t.Fatalf("%s: %v", component, count)
					}
				}
			}
		}
		fewer := slices.DeleteFunc(slices.Clone(pods), func(zone.Pod) bool { return rapid.Bool().Draw(t, "is gone") })
		for pod, name := range resultOf(t, spec, fewer).zones.Of {
			if all.Of[pod] != name {
				t.Fatalf("%s is in %s without others, and in %s with them", pod, name, all.Of[pod])
			}
		}
	})
}

// A link is for both ways unless each has its own, and a default for those without.
func TestLinksOfBothWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawSpec(t)
		spec.Zones, spec.Spread = nil, 3
		got := resultOf(t, spec, nil).links
		rtts := map[v1alpha1.RoundTrip]int64{"": 0, "0ms": 0, "1us": 1_000, "3us": 3_000, "2ms": 2_000_000, "20ms": 20_000_000}
		find := func(from, to string) (int64, bool) {
			i := slices.IndexFunc(spec.Links, func(l v1alpha1.Link) bool { return string(l.Between[0]) == from && string(l.Between[1]) == to })
			if i < 0 {
				return 0, false
			}
			return rtts[spec.Links[i].RTT], true
		}
		for _, from := range []string{"a", "b", "c"} {
			for _, to := range []string{"a", "b", "c"} {
				want, ok := find(from, to)
				if !ok {
					want, ok = find(to, from)
				}
				if !ok {
					want = rtts[spec.Defaults.OtherZone]
					if from == to {
						want = rtts[spec.Defaults.SameZone]
					}
				}
				if delay, is := got[compile.Way{From: from, To: to}]; delay != want || is != (want > 0) {
					t.Fatalf("%s to %s: %d, want %d", from, to, delay, want)
				}
			}
		}
	})
}

// A profile's zones by label stay those that they were dealt to while one of them has pods,
// whatever pods move, and while there are none.
func TestAProfileStaysDealt(t *testing.T) {
	rules, err := zone.Parse(&v1alpha1.NetworkTopologySpec{Profile: "three-az"})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		pods := drawPods(t)
		before := rapid.SampledFrom([][]string{{"a", "b", "d"}, {"b", "d", "e"}, {"d", "e", "f"}}).Draw(t, "before")
		labels := map[string]string{} // by pod
		for _, p := range pods {
			if label := p.NodeLabels[corev1.LabelTopologyZone]; label != "" && p.Component != tidbcluster.Discovery {
				labels[p.Name] = label
			}
		}
		stay := len(labels) == 0
		for _, label := range labels {
			stay = stay || slices.Contains(before, label)
		}
		z, err := rules.Assign(pods, zone.Before{Zones: named(before...)})
		if err != nil {
			t.Fatal(err)
		}
		if stay != slices.Equal(z.Names, before) {
			t.Fatalf("zones %v, before %v", z.Names, before)
		}
		strangers := 0
		for pod, label := range labels {
			want := label
			if stay && !slices.Contains(before, label) {
				want = ""
				strangers++
			}
			if z.Of[pod] != want || (want == "") != slices.Contains(z.Unzoned, pod) {
				t.Fatalf("%s on a node of %s is in zone %q, want %q; in none are %v", pod, label, z.Of[pod], want, z.Unzoned)
			}
		}
		if (strangers > 0) != (len(z.Strange) > 0) {
			t.Fatalf("%d are strangers, and said is %q", strangers, z.Strange)
		}
	})
}
