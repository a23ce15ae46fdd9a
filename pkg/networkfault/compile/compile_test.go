package compile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// podsWithAgents are called a, b, c and so on, with the addresses 10.0.0.1, 10.0.0.2 and
// so on.
func podsWithAgents(n int) []Pod {
	var pods []Pod
	for i := range n {
		pods = append(pods, Pod{Name: string(rune('a' + i)), Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})}, Agent: true})
	}
	return pods
}

// late is an object that delays, made at a time.
func late(name string, made int64, delay time.Duration, from, to []string) Object {
	return Object{Name: name, Created: time.Unix(made, 0), From: from, To: to, Impairment: fault.Impairment{Delay: delay}}
}

// described is what a pod has, a line for each fault.
func described(plan Plan, pod string) string {
	var lines []string
	for _, f := range plan.Faults[pod] {
		var what []string
		if f.Impairment.Delay > 0 {
			what = append(what, f.Impairment.Delay.String())
		}
		if f.Impairment.Jitter > 0 {
			what = append(what, "±"+f.Impairment.Jitter.String())
		}
		if f.Impairment.Loss != nil {
			what = append(what, f.Impairment.Loss.Percent.String())
		}
		if f.Impairment.Partition {
			what = append(what, "cut")
		}
		if f.Impairment.Rate != nil {
			what = append(what, fmt.Sprint(f.Impairment.Rate.BitsPerSecond))
		}
		class := f.Match.Protocol
		for _, p := range f.Match.RemotePorts {
			class += " remote " + p.String()
		}
		for _, p := range f.Match.LocalPorts {
			class += " local " + p.String()
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %v%s: %s of %s", f.Match.Direction, f.Match.Peers, class, strings.Join(what, " "), strings.Join(f.Objects, "+"))))
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}

// refusals are those of a plan, in one line.
func refusals(plan Plan) string {
	var all []string
	for _, r := range plan.Refused {
		text := r.Object
		if r.With != "" {
			text += " with " + r.With
		}
		all = append(all, text+": "+r.Problem)
	}
	return strings.Join(all, "; ")
}

func without(pods []Pod, names ...string) []Pod {
	for i := range pods {
		pods[i].Agent = !slices.Contains(names, pods[i].Name)
	}
	return pods
}

func forth(o Object) Object { o.OneWay = true; return o }

func roundTrip(o Object) Object { o.RoundTrip = true; return o }

func cut(o Object) Object { o.Impairment = fault.Impairment{Partition: true}; return o }

func slow(o Object) Object {
	o.Impairment = fault.Impairment{Rate: &fault.Rate{BitsPerSecond: 8000}}
	return o
}

func lossy(o Object, percent fault.Percent) Object {
	o.Impairment = fault.Impairment{Loss: &fault.Chance{Percent: percent}}
	return o
}

func on(o Object, protocol string, ports ...uint16) Object {
	o.Protocol = protocol
	for _, p := range ports {
		o.Ports = append(o.Ports, api.PortRange{First: p, Last: p})
	}
	return o
}

func TestCompile(t *testing.T) {
	const ms = time.Millisecond
	a, b, both := []string{"a"}, []string{"b"}, []string{"a", "b"}
	for name, test := range map[string]struct {
		pods    []Pod
		objects []Object
		want    map[string]string // by pod
		refused string
	}{
		"nothing": {pods: podsWithAgents(2), want: map[string]string{"a": "", "b": ""}},
		"a delay each way": {
			pods: podsWithAgents(3), objects: []Object{late("x", 1, 10*ms, a, b)},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 10ms of x", "b": "egress [10.0.0.1/32]: 10ms of x", "c": ""},
		},
		"a delay one way": {
			pods: podsWithAgents(2), objects: []Object{forth(late("x", 1, 10*ms, a, b))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 10ms of x", "b": ""},
		},
		"a round trip": {
			pods: podsWithAgents(2), objects: []Object{roundTrip(late("x", 1, 25*time.Microsecond, b, a))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 13µs of x", "b": "egress [10.0.0.1/32]: 12µs of x"},
		},
		"a round trip with one agent": {
			pods: without(podsWithAgents(2), "a"), objects: []Object{roundTrip(late("x", 1, 25*time.Microsecond, a, b))},
			want: map[string]string{"b": "egress [10.0.0.1/32]: 12µs of x; ingress [10.0.0.1/32]: 13µs of x"},
		},
		"a round trip of a microsecond": {
			pods: podsWithAgents(2), objects: []Object{roundTrip(late("x", 1, time.Microsecond, a, b))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 1µs of x", "b": ""},
		},
		"a range": {
			pods: podsWithAgents(1), objects: []Object{{Name: "x", From: a, CIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Impairment: fault.Impairment{Delay: ms}}},
			want: map[string]string{"a": "egress [192.0.2.0/24]: 1ms of x; ingress [192.0.2.0/24]: 1ms of x"},
		},
		"a partition, held at both ends": {
			pods: podsWithAgents(2), objects: []Object{cut(late("x", 1, 0, a, b))},
			want: map[string]string{"a": "both [10.0.0.2/32]: cut of x", "b": "both [10.0.0.1/32]: cut of x"},
		},
		"a partition one way, held at both ends": {
			pods: podsWithAgents(2), objects: []Object{forth(cut(late("x", 1, 0, a, b)))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: cut of x", "b": "ingress [10.0.0.1/32]: cut of x"},
		},
		"pods on both sides": {
			pods: podsWithAgents(2), objects: []Object{late("x", 1, ms, both, both)},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 1ms of x", "b": "egress [10.0.0.1/32]: 1ms of x"},
		},
		"delays add": {
			pods: podsWithAgents(2), objects: []Object{late("y", 2, 2*ms, b, a), late("x", 1, ms, a, b)},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 3ms of x+y", "b": "egress [10.0.0.1/32]: 3ms of x+y"},
		},
		"losses are independent": {
			pods: podsWithAgents(2), objects: []Object{forth(lossy(late("x", 1, 0, a, b), 500_000)), forth(lossy(late("y", 2, 0, a, b), 500_000))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 75% of x+y", "b": ""},
		},
		"a partition beats a delay": {
			pods: podsWithAgents(2), objects: []Object{late("x", 1, ms, a, b), forth(cut(late("y", 2, 0, a, b)))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: cut of x+y", "b": "egress [10.0.0.1/32]: 1ms of x; ingress [10.0.0.1/32]: cut of y"},
		},
		"ports are those of the To side": {
			pods: podsWithAgents(2), objects: []Object{on(late("x", 1, ms, a, b), "tcp", 2379)},
			want: map[string]string{"a": "egress [10.0.0.2/32]tcp remote 2379: 1ms of x", "b": "egress [10.0.0.1/32]tcp local 2379: 1ms of x"},
		},
		"ports within all": {
			pods: podsWithAgents(2), objects: []Object{forth(late("x", 1, ms, a, b)), forth(on(late("y", 2, 2*ms, a, b), "", 2379, 2380))},
			want: map[string]string{"a": "egress [10.0.0.2/32] remote 2379-2380: 3ms of x+y; egress [10.0.0.2/32]: 1ms of x", "b": ""},
		},
		"a protocol within all": {
			pods: podsWithAgents(2), objects: []Object{forth(late("x", 1, ms, a, b)), forth(on(late("y", 2, 2*ms, a, b), "icmp"))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 1ms of x; egress [10.0.0.2/32]icmp: 3ms of x+y", "b": ""},
		},
		"ports of either side": {
			pods: podsWithAgents(2), objects: []Object{on(late("x", 1, ms, a, b), "tcp", 1), on(late("y", 2, 2*ms, b, a), "tcp", 2)},
			want: map[string]string{
				"a": "egress [10.0.0.2/32]tcp local 2: 2ms of y; egress [10.0.0.2/32]tcp remote 1 local 2: 3ms of x+y; egress [10.0.0.2/32]tcp remote 1: 1ms of x",
			},
		},
		"peers that meet the same": {
			pods: podsWithAgents(4), objects: []Object{forth(late("x", 1, ms, a, []string{"b", "c"})), forth(late("y", 2, ms, a, []string{"c", "d", "nobody"}))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 1ms of x; egress [10.0.0.3/32]: 2ms of x+y; egress [10.0.0.4/32]: 1ms of y", "b": ""},
		},
		"two rates": {
			pods: podsWithAgents(2), objects: []Object{slow(late("x", 1, 0, a, b)), slow(late("y", 2, 0, a, b))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 8000 of x"}, refused: "y with x: two rates for the same packets",
		},
		"a rate of several peers": {
			pods: podsWithAgents(3), objects: []Object{forth(slow(late("x", 1, 0, a, []string{"b", "c"})))},
			want: map[string]string{"a": "egress [10.0.0.2/32 10.0.0.3/32]: 8000 of x", "b": ""},
		},
		"a rate that is split": {
			pods: podsWithAgents(3), objects: []Object{forth(slow(late("x", 1, 0, a, []string{"b", "c"}))), forth(late("y", 2, ms, a, b))},
			want: map[string]string{"a": "egress [10.0.0.2/32 10.0.0.3/32]: 8000 of x"}, refused: "y with x: one of them has a rate, which is one link",
		},
		"a rate that would split": {
			pods: podsWithAgents(3), objects: []Object{forth(slow(late("y", 2, 0, a, []string{"b", "c"}))), forth(late("x", 1, ms, a, b))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 1ms of x"}, refused: "y with x: one of them has a rate, which is one link",
		},
		"a range inside": {
			pods: podsWithAgents(2), objects: []Object{{Name: "x", From: a, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Impairment: fault.Impairment{Delay: ms}}},
			want: map[string]string{"a": "", "b": ""}, refused: "x: a range has the address 10.0.0.1 of pod a",
		},
		"a range inside, pods in another order": {
			pods: reversed(podsWithAgents(3)), objects: []Object{{Name: "x", From: a, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/31")}, Impairment: fault.Impairment{Delay: ms}}},
			want: map[string]string{"a": "", "b": ""}, refused: "x: a range has the address 10.0.0.2 of pod b",
		},
		"of the same age": {
			pods: podsWithAgents(2), objects: []Object{slow(late("y", 1, 0, a, b)), slow(late("x", 1, 0, a, b))},
			want: map[string]string{"a": "egress [10.0.0.2/32]: 8000 of x"}, refused: "y with x: two rates",
		},
		"a pod without an address": {
			pods: append(podsWithAgents(1), Pod{Name: "b", Agent: true}), objects: []Object{late("x", 1, ms, a, b)}, want: map[string]string{"a": ""},
		},
		"nobody with an agent": {pods: without(podsWithAgents(2), "a", "b"), objects: []Object{late("x", 1, ms, a, b)}},
	} {
		t.Run(name, func(t *testing.T) {
			plan := Compile(test.objects, test.pods)
			for pod, want := range test.want {
				if _, is := plan.Faults[pod]; described(plan, pod) != want || want == "" && !is && len(pod) == 1 && pod != "b" {
					t.Errorf("%s has %q, want %q", pod, described(plan, pod), want)
				}
			}
			if got := refusals(plan); !strings.HasPrefix(got, test.refused) || (got == "") != (test.refused == "") {
				t.Errorf("refused %q, want %q", got, test.refused)
			}
		})
	}
}

func reversed(pods []Pod) []Pod {
	slices.Reverse(pods)
	return pods
}

// What does not fit into a pod's faults is refused, and what does not fit into one fault
// becomes several.
func TestBounds(t *testing.T) {
	pods := podsWithAgents(15)
	var objects []Object
	for i := range 13 {
		o := late(fmt.Sprintf("o%02d", i), int64(i), time.Duration(i+1)*time.Millisecond, []string{"a"}, []string{string(rune('b' + i))})
		o.OneWay = true
		objects = append(objects, o)
	}
	plan := Compile(objects, pods)
	if len(plan.Faults["a"]) != MaxFaults || len(plan.Refused) != 1 || plan.Refused[0].Object != "o12" || plan.Refused[0].With != "o11" || !strings.Contains(plan.Refused[0].Problem, "13 faults, and 12 are possible") {
		t.Errorf("%d faults, refused %+v", len(plan.Faults["a"]), plan.Refused)
	}
	many := Object{Name: "many", From: []string{"a"}, OneWay: true, Impairment: fault.Impairment{Delay: time.Millisecond}}
	for i := range 1025 {
		many.CIDRs = append(many.CIDRs, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i / 250), byte(i % 250)}), 32))
	}
	plan = Compile([]Object{many}, pods)
	if f := plan.Faults["a"]; len(f) != 3 || len(plan.Refused) > 0 {
		t.Errorf("1025 peers: %d faults, refused %+v", len(f), plan.Refused)
	}
	many.Impairment = fault.Impairment{Rate: &fault.Rate{BitsPerSecond: 8000}}
	if plan = Compile([]Object{many}, pods); len(plan.Refused) != 1 || plan.Refused[0].With != "" {
		t.Errorf("a rate of 1025 peers: refused %+v", plan.Refused)
	}
	ports := late("ports", 1, time.Millisecond, []string{"a"}, []string{"b"})
	for i := range 17 {
		ports.Ports = append(ports.Ports, api.PortRange{First: uint16(2*i + 1), Last: uint16(2*i + 1)})
	}
	plan = Compile([]Object{ports}, pods)
	if len(plan.Faults["a"]) != 2 || len(plan.Faults["b"]) != 2 || len(plan.Refused) > 0 {
		t.Errorf("17 ports: %d and %d faults, refused %+v", len(plan.Faults["a"]), len(plan.Faults["b"]), plan.Refused)
	}
	for _, f := range append(slices.Clone(plan.Faults["a"]), plan.Faults["b"]...) {
		if len(f.Match.RemotePorts) > maxPorts || len(f.Match.LocalPorts) > maxPorts {
			t.Errorf("a fault of %d and %d ports", len(f.Match.RemotePorts), len(f.Match.LocalPorts))
		}
	}
	objects = nil
	for i := range MaxObjects + 1 {
		objects = append(objects, late(fmt.Sprintf("o%03d", i), int64(-i), time.Microsecond, []string{"a"}, []string{"b"}))
	}
	if plan = Compile(objects, pods); len(plan.Refused) != 1 || plan.Refused[0].Object != "o000" {
		t.Errorf("one object too many: refused %+v", plan.Refused)
	}
}

// A fault keeps its name while its impairment changes, so that the agent changes it in
// place.
func TestNamesStay(t *testing.T) {
	pods, long := podsWithAgents(2), strings.Repeat("x", 63)
	before := Compile([]Object{late(long, 1, time.Millisecond, []string{"a"}, []string{"b"})}, pods)
	after := Compile([]Object{late(long, 1, time.Second, []string{"a"}, []string{"b"})}, pods)
	if a, b := before.Faults["a"][0].Name, after.Faults["a"][0].Name; a != b || !fault.IsName(a) {
		t.Errorf("%s, and after a change %s", a, b)
	}
}
