package compile

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// zoned is a topology called ground, made at a time, with pods in zones: "a:x b:x c:y".
func zoned(made int64, pods string, links map[Way]fault.Impairment) Object {
	zones := make(map[string]string)
	for one := range strings.FieldsSeq(pods) {
		pod, zone, _ := strings.Cut(one, ":")
		zones[pod] = zone
	}
	return Object{Name: TopologyKey("ground"), Created: time.Unix(made, 0), Topology: &Topology{Zones: zones, Links: links}}
}

// eachWay is the same between zones x and y in both ways.
func eachWay(i fault.Impairment) map[Way]fault.Impairment {
	return map[Way]fault.Impairment{{"x", "y"}: i, {"y", "x"}: i}
}

func TestTopology(t *testing.T) {
	const ms, us = time.Millisecond, time.Microsecond
	a, all := []string{"a"}, []string{"a", "b", "c", "d"}
	rtt := func(d time.Duration) fault.Impairment { return fault.Impairment{Delay: d} }
	limited := fault.Impairment{Rate: &fault.Rate{BitsPerSecond: 16_000}}
	halfLost := fault.Impairment{Loss: &fault.Chance{Percent: 500_000}}
	two := func(pods []Pod) []Pod {
		for i := range pods {
			pods[i].Addrs = append(pods[i].Addrs, netip.MustParseAddr(fmt.Sprintf("fd01::%d", i+1)))
		}
		return pods
	}
	for name, test := range map[string]struct {
		pods    []Pod
		objects []Object
		want    map[string]string // by pod
		refused string
	}{
		"a link, and a pod in no zone": {
			pods: podsWithAgents(4), objects: []Object{zoned(1, "a:x b:x c:y", eachWay(rtt(20*ms)))},
			want: map[string]string{"a": "egress [10.0.0.3/32]: 10ms of G", "b": "egress [10.0.0.3/32]: 10ms of G", "c": "egress [10.0.0.1/32 10.0.0.2/32]: 10ms of G", "d": ""},
		},
		"the odd microsecond": {
			pods: podsWithAgents(3), objects: []Object{zoned(1, "a:x b:y c:x", eachWay(rtt(25*us)))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 13µs of G", "b": "egress [10.0.0.1/32 10.0.0.3/32]: 12µs of G", "c": "egress [10.0.0.2/32]: 13µs of G"},
		},
		"two ways that differ": {
			pods: podsWithAgents(2), objects: []Object{zoned(1, "a:x b:y", map[Way]fault.Impairment{{"x", "y"}: rtt(20 * ms), {"y", "x"}: rtt(80 * ms)})},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 10ms of G", "b": "egress [10.0.0.1/32]: 40ms of G"},
		},
		"one way only": {
			pods: podsWithAgents(2), objects: []Object{zoned(1, "a:x b:y", map[Way]fault.Impairment{{"x", "y"}: rtt(20 * ms), {"y", "x"}: {}})},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 10ms of G", "b": ""},
		},
		"within a zone": {
			pods: podsWithAgents(3), objects: []Object{zoned(1, "a:x b:x c:y", map[Way]fault.Impairment{{"x", "x"}: rtt(3 * us)})},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 2µs of G", "b": "egress [10.0.0.1/32]: 1µs of G", "c": ""},
		},
		"a microsecond with as much jitter": {
			pods: podsWithAgents(2), objects: []Object{zoned(1, "a:x b:y", eachWay(fault.Impairment{Delay: us, Jitter: us, Distribution: fault.Normal}))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 1µs ±1µs of G", "b": ""},
		},
		"a microsecond of jitter": {
			pods: podsWithAgents(2), objects: []Object{zoned(1, "a:x b:y", eachWay(fault.Impairment{Delay: 3 * us, Jitter: us, Distribution: fault.Normal}))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 2µs ±1µs of G", "b": "egress [10.0.0.1/32]: 1µs of G"},
		},
		"a fault over a link of nothing": {
			pods: podsWithAgents(2), objects: []Object{zoned(1, "a:x b:y", eachWay(fault.Impairment{})), forth(late("s", 2, ms, a, all))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 1ms of s", "b": ""},
		},
		"a microsecond and a loss": {
			pods: podsWithAgents(2), objects: []Object{zoned(1, "a:x b:y", eachWay(fault.Impairment{Delay: us, Loss: &fault.Chance{Percent: 10_000}}))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 1µs 1% of G", "b": "egress [10.0.0.1/32]: 1% of G"},
		},
		"losses are independent": {
			pods: podsWithAgents(2), objects: []Object{zoned(1, "a:x b:y", eachWay(halfLost)), forth(lossy(late("s", 2, 0, a, all), 200_000))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 60% of G+s", "b": "egress [10.0.0.1/32]: 50% of G"},
		},
		"a fault on top adds, one way, and outside of the zones": {
			pods: podsWithAgents(4), objects: []Object{forth(late("s", 2, 5*ms, a, all)), zoned(1, "a:x b:x c:y", eachWay(rtt(20*ms)))},
			want: map[string]string{"a": "egress [10.0.0.2/32 10.0.0.4/32]: 5ms of s; egress [10.0.0.3/32]: 15ms of G+s", "b": "egress [10.0.0.3/32]: 10ms of G", "d": ""},
		},
		"a fault below": {
			pods: podsWithAgents(2), objects: []Object{late("s", 1, 5*ms, a, all), zoned(2, "a:x b:y", eachWay(rtt(20*ms)))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 15ms of s+G", "b": "egress [10.0.0.1/32]: 15ms of s+G"},
		},
		"ports on top": {
			pods: podsWithAgents(2), objects: []Object{zoned(1, "a:x b:y", eachWay(rtt(20*ms))), on(late("s", 2, 5*ms, a, all), "tcp", 2379)},
			want: map[string]string{
				"a": "egress [10.0.0.2/32]: 10ms of G; egress [10.0.0.2/32]tcp remote 2379: 15ms of G+s",
				"b": "egress [10.0.0.1/32]: 10ms of G; egress [10.0.0.1/32]tcp local 2379: 15ms of G+s",
			},
		},
		"an odd fault of some ports halves its own packets only": {
			pods: podsWithAgents(3), objects: []Object{zoned(1, "a:x b:y c:x", eachWay(rtt(20*us))), roundTrip(on(late("s", 2, 5*us, []string{"b"}, all), "tcp", 1))},
			want: map[string]string{"b": "egress [10.0.0.1/32 10.0.0.3/32]: 10µs of G; egress [10.0.0.1/32]tcp remote 1: 12µs of G+s; egress [10.0.0.3/32]tcp remote 1: 13µs of G+s"},
		},
		"a protocol on top": {
			pods: podsWithAgents(2), objects: []Object{zoned(1, "a:x b:y", eachWay(rtt(20*ms))), forth(on(late("s", 2, 5*ms, a, all), "icmp"))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 10ms of G; egress [10.0.0.2/32]icmp: 15ms of G+s", "b": "egress [10.0.0.1/32]: 10ms of G"},
		},
		"a partition beats it": {
			pods: podsWithAgents(3), objects: []Object{zoned(1, "a:x b:y c:y", eachWay(rtt(20*ms))), cut(late("s", 2, 0, a, []string{"b"}))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: cut of G+s; egress [10.0.0.3/32]: 10ms of G; ingress [10.0.0.2/32]: cut of s", "c": "egress [10.0.0.1/32]: 10ms of G"},
		},
		"a range meets nothing": {
			pods:    podsWithAgents(2),
			objects: []Object{zoned(1, "a:x b:y", eachWay(rtt(20*ms))), {Name: "s", Created: time.Unix(2, 0), From: a, OneWay: true, CIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Impairment: rtt(ms)}},
			want:    map[string]string{"a": "egress [10.0.0.2/32]: 10ms of G; egress [192.0.2.0/24]: 1ms of s"},
		},
		"both families": {
			pods: two(podsWithAgents(3)), objects: []Object{zoned(1, "a:x b:y c:y", eachWay(limited))},
			want: map[string]string{"a": "egress [10.0.0.2/32 10.0.0.3/32 fd01::2/128 fd01::3/128]: 16000 of G"},
		},
		"a sender without agent": {
			pods: without(podsWithAgents(3), "a"), objects: []Object{zoned(1, "a:x b:y c:x", map[Way]fault.Impairment{{"x", "y"}: rtt(25 * us), {"y", "x"}: rtt(45 * us)})},
			want: map[string]string{"b": "egress [10.0.0.1/32 10.0.0.3/32]: 22µs of G; ingress [10.0.0.1/32]: 13µs of G", "c": "egress [10.0.0.2/32]: 13µs of G"},
		},
		"nobody with an agent": {pods: without(podsWithAgents(2), "a", "b"), objects: []Object{zoned(1, "a:x b:y", eachWay(rtt(ms)))}},
		"nobody in a zone":     {pods: podsWithAgents(2), objects: []Object{zoned(1, "", eachWay(rtt(ms)))}, want: map[string]string{"a": "", "b": ""}},
		"no links":             {pods: podsWithAgents(2), objects: []Object{zoned(1, "a:x b:y", nil)}, want: map[string]string{"a": "", "b": ""}},
		"links of other zones": {pods: podsWithAgents(2), objects: []Object{zoned(1, "a:x b:z", eachWay(rtt(ms)))}, want: map[string]string{"a": "", "b": ""}},
		"a rate is one link to a zone": {
			pods: podsWithAgents(4), objects: []Object{zoned(1, "a:x b:x c:y d:y", eachWay(limited))},
			want: map[string]string{"a": "egress [10.0.0.3/32 10.0.0.4/32]: 16000 of G", "d": "egress [10.0.0.1/32 10.0.0.2/32]: 16000 of G"},
		},
		"a rate to each of two zones": {
			pods: podsWithAgents(3), objects: []Object{zoned(1, "a:x b:y c:z", map[Way]fault.Impairment{{"x", "y"}: limited, {"x", "z"}: limited})},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 16000 of G; egress [10.0.0.3/32]: 16000 of G"},
		},
		"a fault for all packets of a rate": {
			pods: podsWithAgents(3), objects: []Object{zoned(1, "a:x b:y c:y", eachWay(limited)), forth(late("s", 2, ms, a, all))},
			want: map[string]string{"a": "egress [10.0.0.2/32 10.0.0.3/32]: 1ms 16000 of G+s"},
		},
		"a fault for some packets of a rate": {
			pods: podsWithAgents(3), objects: []Object{zoned(1, "a:x b:y c:y", eachWay(limited)), forth(late("s", 2, ms, a, []string{"b"}))},
			want: map[string]string{"a": "egress [10.0.0.2/32 10.0.0.3/32]: 16000 of G"}, refused: "s with G: one of them has a rate, which is one link for all of its packets, and the other is for some",
		},
		"a rate below of which a fault has some packets": {
			pods: podsWithAgents(3), objects: []Object{zoned(2, "a:x b:y c:y", eachWay(limited)), forth(late("s", 1, ms, a, []string{"b"}))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 1ms of s"}, refused: "G with s: one of them has a rate",
		},
		"a fault of a port of a rate": {
			pods: podsWithAgents(2), objects: []Object{zoned(1, "a:x b:y", eachWay(limited)), on(late("s", 2, ms, a, all), "tcp", 1)},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 16000 of G"}, refused: "s with G: one of them has a rate",
		},
		"a partition of some packets of a rate": {
			pods: podsWithAgents(3), objects: []Object{zoned(1, "a:x b:y c:y", eachWay(limited)), forth(cut(late("s", 2, 0, a, []string{"b"})))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: cut of G+s; egress [10.0.0.3/32]: 16000 of G"},
		},
		"a rate of a fault over two links": {
			pods: podsWithAgents(3), objects: []Object{zoned(1, "a:x b:y c:z", map[Way]fault.Impairment{{"x", "y"}: rtt(ms), {"x", "z"}: rtt(2 * ms)}), forth(slow(late("s", 2, 0, a, all)))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 500µs of G; egress [10.0.0.3/32]: 1ms of G"}, refused: "s with G: one of them has a rate, which is one link for all of its packets, and the other is not the same",
		},
		"a rate of a fault over a link and none": {
			pods: podsWithAgents(3), objects: []Object{zoned(2, "a:x b:y", eachWay(rtt(ms))), forth(slow(late("s", 1, 0, a, all)))},
			want: map[string]string{"a": "egress [10.0.0.2/32 10.0.0.3/32]: 8000 of s"}, refused: "G with s: one of them has a rate, which is one link for all of its packets, and the other is for some",
		},
		"two rates": {
			pods: podsWithAgents(2), objects: []Object{zoned(1, "a:x b:y", eachWay(limited)), slow(late("s", 2, 0, a, all))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 16000 of G"}, refused: "s with G: two rates for the same packets",
		},
		"a rate, and an odd RTT": {
			pods: podsWithAgents(3), objects: []Object{zoned(1, "a:x b:y c:x", eachWay(fault.Impairment{Delay: us, Rate: limited.Rate}))},
			want: map[string]string{"b": "egress [10.0.0.1/32 10.0.0.3/32]: 16000 of G"},
		},
		"a rate, and an odd RTT within a zone": {
			pods: podsWithAgents(3), objects: []Object{zoned(1, "a:x b:x c:x", map[Way]fault.Impairment{{"x", "x"}: {Delay: us, Rate: limited.Rate}})},
			want: map[string]string{"b": ""}, refused: "G: a rate is one link for all of its packets, and half of an odd number",
		},
		"a rate, and an odd fault": {
			pods: podsWithAgents(3), objects: []Object{zoned(1, "a:x b:y c:x", eachWay(limited)), roundTrip(late("s", 2, us, []string{"b"}, all))},
			want: map[string]string{"b": "egress [10.0.0.1/32 10.0.0.3/32]: 16000 of G"}, refused: "s with G: one of them has a rate, which is one link for all of its packets, and the other is not the same",
		},
		"unlike jitters": {
			pods:    podsWithAgents(2),
			objects: []Object{zoned(1, "a:x b:y", eachWay(fault.Impairment{Delay: 4 * ms, Jitter: 2 * ms, Distribution: fault.Normal})), {Name: "s", Created: time.Unix(2, 0), From: a, To: all, Impairment: fault.Impairment{Delay: ms, Jitter: ms, Distribution: fault.Uniform}}},
			want:    map[string]string{"a": "egress [10.0.0.2/32]: 2ms ±1ms of G"}, refused: "s with G: jitters of unlike distributions",
		},
		"too long together": {
			pods: podsWithAgents(2), objects: []Object{zoned(1, "a:x b:y", eachWay(rtt(2*us))), late("s", 2, fault.MaxDelay, a, all)},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 1µs of G"}, refused: "s with G: delays of more than 10m0s together",
		},
	} {
		t.Run(name, func(t *testing.T) {
			plan, short := Compile(test.objects, test.pods), strings.NewReplacer(TopologyKey("ground"), "G")
			for pod, want := range test.want {
				if got := short.Replace(described(plan, pod)); got != want {
					t.Errorf("%s has %q, want %q", pod, got, want)
				}
			}
			for _, f := range slices.Concat(slices.Collect(maps.Values(plan.Faults))...) {
				if (f.Impairment.Jitter == 0) != (f.Impairment.Distribution == "") {
					t.Errorf("%s has a jitter of %s, %q", f.Name, f.Impairment.Jitter, f.Impairment.Distribution)
				}
			}
			if got := short.Replace(refusals(plan)); !strings.HasPrefix(got, test.refused) || (got == "") != (test.refused == "") {
				t.Errorf("refused %q, want %q", got, test.refused)
			}
		})
	}
}

// manyZones is a topology of so many zones with a pod each, with links between all of them.
func manyZones(n int) (Object, []Pod) {
	links, pods, where := make(map[Way]fault.Impairment), podsWithAgents(n), ""
	for i, from := range pods {
		where += fmt.Sprintf("%s:%s ", from.Name, from.Name)
		for j, to := range pods {
			if i != j {
				links[Way{from.Name, to.Name}] = fault.Impairment{Delay: time.Duration(i+j) * time.Millisecond}
			}
		}
	}
	return zoned(1, where, links), pods
}

// A pod has a fault for each other zone, and no more of them than are possible.
func TestBoundsOfATopology(t *testing.T) {
	most, pods := manyZones(MaxFaults + 1)
	if plan := Compile([]Object{most}, pods); len(plan.Faults["a"]) != MaxFaults || len(plan.Refused) > 0 {
		t.Errorf("%d faults, refused %+v", len(plan.Faults["a"]), plan.Refused)
	}
	s := forth(late("s", 2, time.Millisecond, []string{"b"}, []string{"a"}))
	s = on(s, "icmp")
	if got, want := refusals(Compile([]Object{most, s}, pods)), "s with topology/ground: pod b would need 13 faults, and 12 are possible"; got != want {
		t.Errorf("refused %q, want %q", got, want)
	}
	tooMany, pods := manyZones(MaxFaults + 2)
	if got, want := refusals(Compile([]Object{tooMany}, pods)), "topology/ground: pod a would need 13 faults, and 12 are possible"; got != want {
		t.Errorf("refused %q, want %q", got, want)
	}
	pods, where := podsWithAgents(1), "a:x "
	for i := range maxPeers + 1 {
		name := fmt.Sprintf("pod-%03d", i)
		pods = append(pods, Pod{Name: name, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i / 256), byte(i % 256)})}})
		where += name + ":y "
	}
	link := fault.Impairment{Delay: time.Millisecond}
	big := zoned(1, where, map[Way]fault.Impairment{{"x", "y"}: link})
	if plan := Compile([]Object{big}, pods); len(plan.Faults["a"]) != 2 || len(plan.Refused) > 0 {
		t.Errorf("%d peers: %d faults, refused %+v", maxPeers+1, len(plan.Faults["a"]), plan.Refused)
	}
	link.Rate = &fault.Rate{BitsPerSecond: 8000}
	big.Topology.Links[Way{"x", "y"}] = link
	if got := refusals(Compile([]Object{big}, pods)); !strings.HasPrefix(got, "topology/ground: a rate is one link") {
		t.Errorf("a rate of %d peers: refused %q", maxPeers+1, got)
	}
}

// nameOf returns the name of the only fault of a pod that is for one peer at least, of those
// that leave.
func nameOf(t *testing.T, plan Plan, pod, peer string) string {
	t.Helper()
	for _, f := range plan.Faults[pod] {
		if f.Match.Direction == fault.Egress && slices.Contains(f.Match.Peers, netip.MustParsePrefix(peer)) {
			if !fault.IsName(f.Name) {
				t.Errorf("a fault is called %q", f.Name)
			}
			return f.Name
		}
	}
	t.Fatalf("%s has no fault for %s: %+v", pod, peer, plan.Faults[pod])
	return ""
}

// A fault keeps its name when its link's numbers change, odd or even, and when the pod or
// one of its peers moves to another zone.
func TestNamesStayOfATopology(t *testing.T) {
	pods := podsWithAgents(4)
	compiled := func(where string, rtt time.Duration) Plan {
		links := make(map[Way]fault.Impairment)
		for i, from := range []string{"x", "y", "z"} {
			for j, to := range []string{"x", "y", "z"} {
				links[Way{from, to}] = fault.Impairment{Delay: rtt + time.Duration(2*(i+j))*time.Microsecond}
			}
		}
		return Compile([]Object{zoned(1, where, links)}, pods)
	}
	before := compiled("a:x b:y c:z d:y", time.Millisecond)
	toB, toC := nameOf(t, before, "a", "10.0.0.2/32"), nameOf(t, before, "a", "10.0.0.3/32")
	if toB == toC || toB != nameOf(t, before, "a", "10.0.0.4/32") || !strings.HasPrefix(toB, "topology.ground.") {
		t.Errorf("to y %s, to z %s", toB, toC)
	}
	for what, after := range map[string]Plan{
		"other numbers":        compiled("a:x b:y c:z d:y", time.Second),
		"odd numbers":          compiled("a:x b:y c:z d:y", time.Second+time.Microsecond),
		"a moved":              compiled("a:z b:y c:z d:y", time.Millisecond),
		"d moved":              compiled("a:x b:y c:z d:x", time.Millisecond),
		"d in no zone anymore": compiled("a:x b:y c:z", time.Millisecond),
	} {
		if b, c := nameOf(t, after, "a", "10.0.0.2/32"), nameOf(t, after, "a", "10.0.0.3/32"); b != toB || c != toC {
			t.Errorf("%s: to y %s and to z %s, before %s and %s", what, b, c, toB, toC)
		}
	}
}

// Which of two faults within a zone has the odd microsecond does not depend on addresses.
func TestNamesStayWhenAddressesChange(t *testing.T) {
	pods := podsWithAgents(3)
	odd := zoned(1, "a:x b:x c:x", map[Way]fault.Impairment{{"x", "x"}: {Delay: 25 * time.Microsecond}})
	before := Compile([]Object{odd}, pods)
	pods[0].Addrs = []netip.Addr{netip.MustParseAddr("10.0.0.9")}
	after := Compile([]Object{odd}, pods)
	if a, b := nameOf(t, before, "b", "10.0.0.1/32"), nameOf(t, after, "b", "10.0.0.9/32"); a != b {
		t.Errorf("%s, and with another address %s", a, b)
	}
}

func TestEffectsOfATopology(t *testing.T) {
	const ms = time.Millisecond
	ground := zoned(1, "a:x b:y c:x", map[Way]fault.Impairment{
		{"x", "y"}: {Delay: 21 * time.Microsecond, Loss: &fault.Chance{Percent: 500_000}}, {"y", "x"}: {Delay: 40 * ms, Jitter: 2 * ms, Distribution: fault.Uniform},
	})
	pods := podsWithAgents(4)
	got := Compile([]Object{ground, roundTrip(lossy(late("s", 2, 0, []string{"a"}, []string{"b"}), 500_000))}, pods).Effects(pods)
	want := map[Pair]Effect{
		{"a", "b"}: {Loss: 750_000, RTT: 21*ms + 11*time.Microsecond},
		{"b", "c"}: {Loss: 500_000, RTT: 21*ms + 11*time.Microsecond},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
