package compile

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/fault"
)

// drawTopology draws three zones, with anything between them and within.
func drawTopology(t *rapid.T) Object {
	o := Object{
		Name: TopologyKey("ground"), Created: time.Unix(int64(rapid.IntRange(0, 3).Draw(t, "age of the topology")), 0),
		Topology: &Topology{Zones: make(map[string]string), Links: make(map[Way]fault.Impairment)},
	}
	for i := range 6 {
		if zone := rapid.SampledFrom([]string{"a", "a", "b", "b", "c", ""}).Draw(t, "zone"); zone != "" {
			o.Topology.Zones[fmt.Sprintf("pod-%d", i)] = zone
		}
	}
	for _, from := range []string{"a", "b", "c"} {
		for _, to := range []string{"a", "b", "c"} {
			if rapid.SampledFrom([]bool{true, true, true, false}).Draw(t, "linked") {
				o.Topology.Links[Way{from, to}] = drawLink(t)
			}
		}
	}
	return o
}

func drawLink(t *rapid.T) fault.Impairment {
	i := fault.Impairment{Delay: time.Duration(rapid.IntRange(0, 40).Draw(t, "RTT")) * time.Microsecond}
	if jitter := rapid.IntRange(0, int(i.Delay/time.Microsecond)).Draw(t, "jitter of the RTT"); jitter > 0 && rapid.Bool().Draw(t, "link jitters") {
		i.Jitter, i.Distribution = time.Duration(jitter)*time.Microsecond, fault.Normal
	}
	if rapid.SampledFrom([]bool{true, false, false, false}).Draw(t, "link loses") {
		i.Loss = &fault.Chance{Percent: rapid.SampledFrom([]fault.Percent{1, 10_000, 500_000, fault.Hundred}).Draw(t, "loss of a link")}
	}
	if rapid.SampledFrom([]bool{true, false, false, false, false, false}).Draw(t, "link has a rate") {
		i.Rate = &fault.Rate{BitsPerSecond: 8_000_000}
	}
	return i
}

// Without the topology all that was in force besides goes on, and packets meet just that.
func TestTheEndOfATopology(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pods, objects := drawPods(t), drawObjects(t)
		rest := slices.DeleteFunc(inForce(objects, Compile(objects, pods)), func(o Object) bool { return o.Topology != nil })
		plan := Compile(rest, pods)
		if len(plan.Refused) > 0 {
			t.Fatalf("without the topology %+v", plan.Refused)
		}
		checkPackets(t, pods, plan, rest)
	})
}

// What is between zones changes in place: the faults keep their names and their packets
// where something stays something, and an even number even.
func TestLinksChangeInPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pods, before := drawPods(t), drawTopology(t)
		after := before
		after.Topology = &Topology{Zones: before.Topology.Zones, Links: make(map[Way]fault.Impairment)}
		for _, way := range slices.SortedFunc(maps.Keys(before.Topology.Links), func(a, b Way) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) }) {
			before.Topology.Links[way], after.Topology.Links[way] = even(before.Topology.Links[way]), even(drawLink(t))
		}
		if a, b := matches(Compile([]Object{before}, pods)), matches(Compile([]Object{after}, pods)); !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v\nand after a change\n%+v", a, b)
		}
	})
}

// even is a link that is something and alike in both directions.
func even(i fault.Impairment) fault.Impairment {
	i.Delay, i.Jitter = i.Delay.Truncate(2*time.Microsecond)+2*time.Microsecond, i.Jitter.Truncate(2*time.Microsecond)
	if i.Jitter == 0 {
		i.Distribution = ""
	}
	return i
}

// matches are the packets of the faults of each pod, by their names.
func matches(plan Plan) map[string]map[string]fault.Match {
	all := make(map[string]map[string]fault.Match)
	for pod, faults := range plan.Faults {
		all[pod] = make(map[string]fault.Match)
		for _, f := range faults {
			all[pod][f.Name] = f.Match
		}
	}
	return all
}
