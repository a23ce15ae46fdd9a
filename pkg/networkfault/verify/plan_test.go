package verify_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// pods are 3 PD, 3 TiKV and 2 TiDB, in order of name.
func pods() []verify.Pod {
	var all []verify.Pod
	for n, part := range []struct {
		component tidbcluster.Component
		replicas  int
	}{{tidbcluster.PD, 3}, {tidbcluster.TiDB, 2}, {tidbcluster.TiKV, 3}} {
		for i := range part.replicas {
			addr := netip.AddrFrom4([4]byte{10, 0, byte(n), byte(i + 1)})
			all = append(all, verify.Pod{Name: fmt.Sprintf("%s-%d", part.component, i), Component: part.component, Addrs: []netip.Addr{addr}, Agent: verify.Holds})
		}
	}
	return all
}

// compiled gives the pods what objects come to.
func compiled(t testing.TB, all []verify.Pod, objects ...compile.Object) []compile.Pod {
	var plain []compile.Pod
	for _, p := range all {
		plain = append(plain, compile.Pod{Name: p.Name, Addrs: p.Addrs, Agent: p.Agent != verify.NoAgent})
	}
	plan := compile.Compile(objects, plain)
	if len(plan.Refused) > 0 {
		t.Fatalf("refused %+v", plan.Refused)
	}
	for i, p := range all {
		all[i].Faults = plan.Faults[p.Name]
	}
	return plain
}

func named(prefix string) []string {
	var all []string
	for _, p := range pods() {
		if strings.HasPrefix(p.Name, prefix) {
			all = append(all, p.Name)
		}
	}
	return all
}

// rtt is an object between two components.
func rtt(name, from, to string, d time.Duration) compile.Object {
	return compile.Object{Name: name, From: named(from), To: named(to), RoundTrip: true, Impairment: fault.Impairment{Delay: d}}
}

// texts words the tasks without their addresses.
func texts(plan verify.Plan) []string {
	var all []string
	for _, t := range plan.Tasks {
		text := fmt.Sprintf("%s>%s:%d %s", t.From, t.To, t.Port, t.Asked.RTT)
		switch c := t.Counted; {
		case c.Loss > 0:
			text = fmt.Sprintf("%s counts %s", t.From, c.Loss)
		case c.Rate > 0:
			text = fmt.Sprintf("%s counts %s %s", t.From, fault.FormatRate(c.Rate), c.Slack)
		case t.Asked.Cut:
			text = fmt.Sprintf("%s>%s:%d cut", t.From, t.To, t.Port)
		}
		for is, word := range map[*bool]string{&t.Asked.Lossy: "lossy", &t.Asked.Rated: "rated", &t.Waits: "waits", &t.Counted.Arrives: "arriving"} {
			if *is {
				text += " " + word
			}
		}
		all = append(all, text+" "+strings.Join(t.Objects, "+"))
	}
	return all
}

func TestPlan(t *testing.T) {
	with := func(o compile.Object, edit func(*compile.Object)) compile.Object {
		edit(&o)
		return o
	}
	slow := rtt("slow", "tikv-0", "pd-0", 50*time.Millisecond)
	percent := &fault.Chance{Percent: fault.Hundred / 100}
	lossy := func(i fault.Impairment) compile.Object {
		return with(slow, func(o *compile.Object) { o.Impairment = i })
	}
	for name, test := range map[string]struct {
		objects []compile.Object
		edit    func([]verify.Pod)
		want    []string
		unseen  string // a part of why, of the object slow
		noPair  bool
	}{
		"one pair":      {objects: []compile.Object{slow}, want: []string{"pd-0>tikv-0:20160 50ms slow"}},
		"two faults":    {objects: []compile.Object{slow, rtt("more", "pd-0", "tikv-0", 10*time.Millisecond)}, want: []string{"pd-0>tikv-0:20160 60ms more+slow"}},
		"a port":        {objects: []compile.Object{with(slow, func(o *compile.Object) { o.Ports = []api.PortRange{{First: 2380, Last: 2380}} })}, want: []string{"tikv-0>pd-0:2380 50ms slow"}},
		"an odd port":   {objects: []compile.Object{with(slow, func(o *compile.Object) { o.Ports = []api.PortRange{{First: 2332, Last: 2340}} })}, want: []string{"tikv-0>pd-0:2333 50ms slow"}},
		"by chance":     {objects: []compile.Object{with(slow, func(o *compile.Object) { o.Ports = []api.PortRange{{First: 40000, Last: 50000}} })}, want: []string{"tikv-0>pd-0:40000 50ms slow"}},
		"icmp":          {objects: []compile.Object{with(slow, func(o *compile.Object) { o.Protocol = "icmp" })}, want: []string{"pd-0>tikv-0:0 50ms slow"}},
		"udp":           {objects: []compile.Object{with(slow, func(o *compile.Object) { o.Protocol = "udp" })}, unseen: "neither a handshake nor a ping", noPair: true},
		"loss":          {objects: []compile.Object{lossy(fault.Impairment{Loss: percent})}, want: []string{"pd-0 counts 1% slow", "tikv-0 counts 1% slow"}},
		"delay, loss":   {objects: []compile.Object{with(slow, func(o *compile.Object) { o.Impairment.Loss = percent })}, want: []string{"pd-0 counts 1% slow", "pd-0>tikv-0:20160 50ms lossy slow", "tikv-0 counts 1% slow"}},
		"delay, rate":   {objects: []compile.Object{with(slow, func(o *compile.Object) { o.Impairment.Rate = &fault.Rate{BitsPerSecond: 8e6} })}, want: []string{"pd-0 counts 8mbit 500ms slow", "pd-0>tikv-0:20160 50ms rated slow", "tikv-0 counts 8mbit 500ms slow"}},
		"loss and rate": {objects: []compile.Object{lossy(fault.Impairment{Loss: percent, Rate: &fault.Rate{BitsPerSecond: 8e6}})}, want: []string{"pd-0 counts 8mbit 500ms slow", "tikv-0 counts 8mbit 500ms slow"}, unseen: "lost by chance"},
		"two losses":    {objects: []compile.Object{lossy(fault.Impairment{Loss: percent}), with(lossy(fault.Impairment{Loss: percent}), func(o *compile.Object) { o.Name = "more" })}, want: []string{"pd-0 counts 1.99% more+slow", "tikv-0 counts 1.99% more+slow"}},
		"loss of udp":   {objects: []compile.Object{with(lossy(fault.Impairment{Loss: percent}), func(o *compile.Object) { o.Protocol = "udp" })}, want: []string{"pd-0 counts 1% slow", "tikv-0 counts 1% slow"}},
		"loss, asked":   {objects: []compile.Object{lossy(fault.Impairment{Loss: percent})}, edit: func(all []verify.Pod) { all[0].Agent = verify.AskedNow }, want: []string{"pd-0 counts 1% waits slow", "tikv-0 counts 1% slow"}},
		"loss, arrives": {objects: []compile.Object{with(lossy(fault.Impairment{Loss: percent}), func(o *compile.Object) { o.From, o.To, o.OneWay, o.RoundTrip = o.To, o.From, true, false })}, edit: func(all []verify.Pod) { all[0].Agent = verify.NoAgent }, want: []string{"tikv-0 counts 1% arriving slow"}},
		"all is lost":   {objects: []compile.Object{lossy(fault.Impairment{Loss: &fault.Chance{Percent: fault.Hundred}})}, want: []string{"pd-0>tikv-0:20160 cut slow"}},
		"bursts":        {objects: []compile.Object{lossy(fault.Impairment{GilbertElliott: &fault.GilbertElliott{ToBad: 100, ToGood: 100, LossInBad: 100}})}, unseen: "in bursts"},
		"correlated":    {objects: []compile.Object{lossy(fault.Impairment{Loss: &fault.Chance{Percent: 100, Correlation: 1}})}, unseen: "with a correlation"},
		"echoes":        {objects: []compile.Object{lossy(fault.Impairment{Loss: percent, Duplicate: percent})}, unseen: "beside duplicate"},
		"loss, corrupt": {objects: []compile.Object{lossy(fault.Impairment{Loss: percent, Corrupt: percent})}, want: []string{"pd-0 counts 1% slow", "tikv-0 counts 1% slow"}, unseen: "nothing counts"},
		"delay, bursts": {objects: []compile.Object{lossy(fault.Impairment{Delay: 50 * time.Millisecond, GilbertElliott: &fault.GilbertElliott{ToBad: 100, ToGood: 100, LossInBad: 100}})}, want: []string{"pd-0>tikv-0:20160 50ms lossy slow"}, unseen: "in bursts"},
		"loss, short":   {objects: []compile.Object{lossy(fault.Impairment{Delay: 100 * time.Microsecond, Loss: percent})}, want: []string{"pd-0 counts 1% slow", "tikv-0 counts 1% slow"}, unseen: "1ms and more", noPair: true},
		"loss, a range": {objects: []compile.Object{{Name: "slow", From: []string{"pd-0"}, CIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Impairment: fault.Impairment{Loss: percent}}}, want: []string{"pd-0 counts 1% arriving slow", "pd-0 counts 1% slow"}},
		"loss, lost":    {objects: []compile.Object{lossy(fault.Impairment{Loss: percent})}, edit: func(all []verify.Pod) { all[0].Agent = verify.Lost }, want: []string{"tikv-0 counts 1% slow"}},
		"corrupt":       {objects: []compile.Object{lossy(fault.Impairment{Corrupt: percent})}, unseen: "nothing counts"},
		"cells":         {objects: []compile.Object{lossy(fault.Impairment{Rate: &fault.Rate{BitsPerSecond: 8e6, CellSize: 48}})}, unseen: "cells"},
		"one way":       {objects: []compile.Object{with(slow, func(o *compile.Object) { o.OneWay, o.RoundTrip = true, false })}, want: []string{"pd-0>tikv-0:20160 50ms slow"}},
		"partition":     {objects: []compile.Object{with(slow, func(o *compile.Object) { o.Impairment = fault.Impairment{Partition: true} })}, want: []string{"pd-0>tikv-0:20160 cut slow"}},
		"cut off":       {objects: []compile.Object{slow, with(slow, func(o *compile.Object) { o.Name, o.Impairment = "more", fault.Impairment{Partition: true} })}, want: []string{"pd-0>tikv-0:20160 cut more"}, unseen: "nothing gets through NetworkFault more"},
		"too long":      {objects: []compile.Object{rtt("slow", "tikv-0", "pd-0", 7*time.Second)}, unseen: "more than 6s", noPair: true},
		"too short":     {objects: []compile.Object{rtt("slow", "tikv-0", "pd-0", 100*time.Microsecond)}, unseen: "1ms and more", noPair: true},
		"all jitter":    {objects: []compile.Object{with(slow, func(o *compile.Object) { o.Impairment.Jitter = 50 * time.Millisecond })}, unseen: "shorter than 1ms", noPair: true},
		"a range":       {objects: []compile.Object{{Name: "slow", From: []string{"pd-0"}, CIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Impairment: fault.Impairment{Delay: time.Second}}}, unseen: "outside the pods", noPair: true},
		"asked":         {objects: []compile.Object{slow}, edit: func(all []verify.Pod) { all[0].Agent = verify.AskedNow }, want: []string{"pd-0>tikv-0:20160 50ms waits slow"}},
		"a range too":   {objects: []compile.Object{with(slow, func(o *compile.Object) { o.CIDRs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })}, want: []string{"pd-0>tikv-0:20160 50ms slow"}, unseen: "outside the pods"},
		"one lost":      {objects: []compile.Object{rtt("slow", "tikv-0", "pd", 50*time.Millisecond)}, edit: func(all []verify.Pod) { all[0].Agent, all[1].Agent = verify.Lost, verify.Lost }, want: []string{"pd-2>tikv-0:20160 50ms slow"}, unseen: "nobody knows what they hold"},
		"one too short": {objects: []compile.Object{rtt("slow", "tikv-0", "pd-", 500*time.Microsecond), rtt("more", "tikv-0", "pd-0", 10*time.Millisecond)}, want: []string{"pd-0>tikv-0:20160 10.5ms more+slow"}, unseen: "of pod pd-1: a handshake shows delays of 1ms and more"},
		"lost":          {objects: []compile.Object{slow}, edit: func(all []verify.Pod) { all[0].Agent = verify.Lost }, unseen: "nobody knows what they hold", noPair: true},
		"without agent": {objects: []compile.Object{slow}, edit: func(all []verify.Pod) { all[0].Agent = verify.NoAgent }, want: []string{"tikv-0>pd-0:2379 50ms slow"}},
	} {
		t.Run(name, func(t *testing.T) {
			all := pods()
			if test.edit != nil {
				test.edit(all)
			}
			compiled(t, all, test.objects...)
			plan := verify.New(all)
			if diff := cmp.Diff(test.want, texts(plan), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("tasks (-want +got):\n%s", diff)
			}
			if got := plan.Unseen["slow"].Why; !strings.Contains(got, test.unseen) || got != "" && test.unseen == "" {
				t.Errorf("not seen because %q, want %q", got, test.unseen)
			}
			if got := plan.Unseen["slow"].NoPair; got != test.noPair {
				t.Errorf("no pair shows it: %t, want %t", got, test.noPair)
			}
		})
	}
}

// Where a pod has addresses of both families, both are measured.
func TestBothFamilies(t *testing.T) {
	all := pods()
	for i := range all {
		all[i].Addrs = append(all[i].Addrs, netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i + 1)}))
	}
	compiled(t, all, rtt("slow", "tikv-0", "pd-0", 50*time.Millisecond))
	families := map[bool]int{}
	for _, task := range verify.New(all).Tasks {
		families[task.Addr.Is6()]++
	}
	if families[true] != 1 || families[false] != 1 {
		t.Errorf("tasks by IPv6: %v", families)
	}
}

// A large cluster in zones is covered, and no agent has more than it can do.
func TestManyPods(t *testing.T) {
	var all []verify.Pod
	var names []string
	components := []tidbcluster.Component{tidbcluster.PD, tidbcluster.TiKV, tidbcluster.TiDB, tidbcluster.TiFlash}
	for i := range 200 {
		p := verify.Pod{
			Name: fmt.Sprintf("pod-%03d", i), Component: components[i%4], Zone: string(rune('a' + i/4%5)), Agent: verify.Holds,
			Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})},
		}
		all, names = append(all, p), append(names, p.Name)
	}
	compiled(t, all, compile.Object{Name: "all", From: names, To: names, Impairment: fault.Impairment{Delay: 10 * time.Millisecond}})
	load, asked, seen, zones := map[string]int{}, map[string]int{}, map[string]bool{}, map[string]bool{}
	plan := verify.New(all)
	for _, task := range plan.Tasks {
		load[task.From]++
		asked[task.To]++
		seen[task.From], seen[task.To] = true, true
		var a, b int
		_, _ = fmt.Sscanf(task.From+task.To, "pod-%03dpod-%03d", &a, &b)
		zones[fmt.Sprint(all[min(a, b)].Component, all[min(a, b)].Zone, all[max(a, b)].Component, all[max(a, b)].Zone)] = true
	}
	for _, p := range all {
		// A pod may be the peer of one in each of the 20 pairs of a component and a zone.
		if n, m := load[p.Name], asked[p.Name]; n > verify.MaxTasks || m > 20 {
			t.Errorf("%s has %d tasks, and is the peer of %d", p.Name, n, m)
		}
	}
	// 20 pairs of a component and a zone make 210 pairs of such.
	if len(seen) != 200 || len(zones) < 210 || len(plan.Tasks) > 400 {
		t.Errorf("%d pods and %d pairs of components and zones by %d tasks", len(seen), len(zones), len(plan.Tasks))
	}
}

// peers are the pods that a fault is for.
func peers(all []verify.Pod, f compile.Fault) []string {
	var names []string
	for _, p := range all {
		if slices.Contains(f.Match.Peers, netip.PrefixFrom(p.Addrs[0], 32)) {
			names = append(names, p.Name)
		}
	}
	return names
}

// What is asked for is what the compilation says, whatever the objects are; the order of the
// pods means nothing; and each pod that holds an object is measured where it shows.
func TestPlanProperties(t *testing.T) {
	names := named("")
	some := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 5, rapid.ID[string])
	rapid.Check(t, func(rt *rapid.T) {
		all := pods()
		for i := range all {
			if rapid.IntRange(0, 5).Draw(rt, "agent") == 0 {
				all[i].Agent = verify.NoAgent
			}
		}
		var objects []compile.Object
		for i := range rapid.IntRange(1, 4).Draw(rt, "objects") {
			o := compile.Object{Name: fmt.Sprintf("o%d", i), From: some.Draw(rt, "from"), To: some.Draw(rt, "to"), OneWay: rapid.Bool().Draw(rt, "oneWay")}
			if o.Impairment.Delay = time.Duration(rapid.IntRange(1, 500).Draw(rt, "ms")) * time.Millisecond; rapid.IntRange(0, 4).Draw(rt, "cut") == 0 {
				o.Impairment = fault.Impairment{Partition: true}
			}
			objects = append(objects, o)
		}
		plain := compiled(t, all, objects...)
		effects := compile.Plan{Faults: map[string][]compile.Fault{}}
		for _, p := range all {
			effects.Faults[p.Name] = p.Faults
		}
		want, plan := effects.Effects(plain), verify.New(all)
		isCut := map[string]bool{}
		for _, o := range objects {
			isCut[o.Name] = o.Impairment.Partition
		}
		seen := map[string]bool{}
		for _, task := range plan.Tasks {
			e := want[compile.Pair{A: min(task.From, task.To), B: max(task.From, task.To)}]
			if e.Partition != task.Asked.Cut || !e.Partition && e.RTT != task.Asked.RTT {
				rt.Fatalf("task %+v, and the effect is %+v", task, e)
			}
			for _, o := range task.Objects {
				if isCut[o] != task.Asked.Cut {
					rt.Fatalf("task %+v does not show %s", task, o)
				}
				seen[task.From+o], seen[task.To+o] = true, true
			}
		}
		shows := map[string]bool{}
		for _, p := range all {
			for _, f := range p.Faults {
				isReached := func(peer string) bool {
					return !want[compile.Pair{A: min(p.Name, peer), B: max(p.Name, peer)}].Partition
				}
				for _, o := range f.Objects {
					if isCut[o] || slices.ContainsFunc(peers(all, f), isReached) {
						shows[p.Name+o] = true
					}
				}
			}
		}
		for what := range shows {
			if !seen[what] {
				rt.Fatalf("%s is not measured, and these are: %v", what, texts(plan))
			}
		}
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if diff := cmp.Diff(plan, verify.New(all), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			rt.Fatalf("in another order (-first +second):\n%s", diff)
		}
	})
}

// A pod that goes, or comes, leaves what others measure between them as it was, but for a few
// pairs that stand in for its own.
func TestAPodThatGoes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var all []verify.Pod
		var names []string
		for i := range rapid.IntRange(4, 40).Draw(rt, "pods") {
			p := verify.Pod{
				Name: fmt.Sprintf("pod-%02d", i), Component: rapid.SampledFrom([]tidbcluster.Component{tidbcluster.PD, tidbcluster.TiKV, tidbcluster.TiDB}).Draw(rt, "component"),
				Zone: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "zone"), Agent: verify.Holds, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})},
			}
			all, names = append(all, p), append(names, p.Name)
		}
		some := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 2, len(names), rapid.ID[string])
		var objects []compile.Object
		for i := range rapid.IntRange(1, 2).Draw(rt, "objects") {
			objects = append(objects, compile.Object{Name: fmt.Sprint("o", i), From: some.Draw(rt, "from"), To: some.Draw(rt, "to"), Impairment: fault.Impairment{Delay: time.Millisecond << i}})
		}
		gone := rapid.SampledFrom(names).Draw(rt, "gone")
		checks := func() map[verify.Check]bool {
			compiled(t, all, objects...)
			set := map[verify.Check]bool{}
			for _, task := range verify.New(all).Tasks {
				set[task.Check] = true
			}
			return set
		}
		before := checks()
		all = slices.DeleteFunc(all, func(p verify.Pod) bool { return p.Name == gone })
		for i := range objects {
			for _, side := range []*[]string{&objects[i].From, &objects[i].To} {
				*side = slices.DeleteFunc(slices.Clone(*side), func(name string) bool { return name == gone })
			}
		}
		after := checks()
		own, ended, begun := 0, 0, 0
		for c := range before {
			switch {
			case c.From == gone || c.To == gone:
				own++
			case !after[c]:
				ended++
			}
		}
		for c := range after {
			if !before[c] {
				begun++
			}
		}
		if ended > own || begun > 4*own {
			rt.Fatalf("of %d pairs %d had %s, %d others have ended and %d begun", len(before), own, gone, ended, begun)
		}
	})
}

// An agent takes what it is asked for, waits longer than what is asked for, and for no answer
// to a SYN that was sent again a second later.
func TestMeasureIsAccepted(t *testing.T) {
	for _, asked := range []verify.Asked{{}, {RTT: time.Millisecond}, {RTT: 6 * time.Second}, {RTT: time.Second, Spread: 5 * time.Second}, {Cut: true}} {
		c := verify.Check{Addr: netip.MustParseAddr("fd00::1"), Port: 2379, Asked: asked}
		m := c.Measure()
		timeout, err := time.ParseDuration(m.Timeout)
		if err != nil || timeout > 10*time.Second || timeout <= asked.RTT+asked.Spread || timeout >= time.Second+asked.RTT+asked.Spread || c.Longest() > time.Minute {
			t.Errorf("%+v: %+v, %s at most", asked, m, c.Longest())
		}
		if !slices.Equal(m.Targets, []string{"[fd00::1]:2332", "[fd00::1]:2379"}) {
			t.Errorf("targets %q", m.Targets)
		}
	}
}
