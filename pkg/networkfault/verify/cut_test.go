package verify_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// ground is the topology of these tests.
var ground = compile.TopologyKey("ground")

// What lets nothing through shows itself, and nothing of a topology under it.
func TestACutShowsNoTopology(t *testing.T) {
	all := zonedPods(2, 1, part{tidbcluster.PD, 2}, part{tidbcluster.TiKV, 4}, part{tidbcluster.TiDB, 2})
	for name, edit := range map[string]func(*compile.Object){
		"partition": func(*compile.Object) {},
		"one way":   func(o *compile.Object) { o.OneWay = true },
		"loss":      func(o *compile.Object) { o.Impairment = fault.Impairment{Loss: &fault.Chance{Percent: fault.Hundred}} },
	} {
		o := cut(all, "a", "b")
		edit(&o)
		compiled(t, all, between(all, 0), o)
		plan := verify.New(all)
		if want := map[string]verify.Unseen{ground: {Why: "nothing gets through NetworkFault cut", NoPair: name == "one way"}}; !cmp.Equal(plan.Unseen, want) {
			t.Errorf("%s: not measured is %+v, want %+v", name, plan.Unseen, want)
		}
		for _, task := range plan.Tasks {
			if !task.Asked.Cut || !slices.Equal(task.Objects, []string{"cut"}) {
				t.Errorf("%s: task %+v", name, task)
			}
		}
		if len(plan.Tasks) == 0 {
			t.Errorf("%s: no task", name)
		}
	}
}

// Where some pods of two zones don't reach each other, others show the topology.
func TestOthersShowTheTopology(t *testing.T) {
	show := func(replicas int, cuts ...compile.Object) {
		all := zonedPods(3, 1, part{tidbcluster.TiKV, replicas})
		compiled(t, all, append(cuts, between(all, 0))...)
		zone, zones, plan := map[string]string{}, map[string]bool{}, verify.New(all)
		for _, p := range all {
			zone[p.Name] = p.Zone
		}
		for _, task := range plan.Tasks {
			if !task.Asked.Cut && slices.Contains(task.Objects, ground) {
				zones[min(zone[task.From], zone[task.To])+max(zone[task.From], zone[task.To])] = true
			}
		}
		if len(zones) != 3 || len(plan.Unseen) > 0 {
			t.Errorf("cut are %v: zones %v, not measured is %v, of %q", cuts, zones, plan.Unseen, texts(plan))
		}
	}
	for from := range 6 {
		for to := range from {
			show(6, compile.Object{ // one pair, which may be the first of its zones
				Name: "cut", Created: time.Unix(1, 0), From: []string{fmt.Sprint("tikv-", from)}, To: []string{fmt.Sprint("tikv-", to)}, Impairment: fault.Impairment{Partition: true},
			})
		}
	}
	for i := range 10 { // all pairs of two zones but one
		all := zonedPods(3, 1, part{tidbcluster.TiKV, 30})
		one, other := cut(all, "a", "b"), cut(all, "a", "b")
		one.From, other.To, other.Name = slices.Delete(one.From, i, i+1), slices.Delete(other.To, i, i+1), "cut-too"
		show(30, one, other)
	}
}

// What no pair shows since all are cut is told.
func TestZonesThatAreCut(t *testing.T) {
	all := zonedPods(3, 1, part{tidbcluster.TiKV, 6})
	compiled(t, all, between(all, 0), cut(all, "a", "b"))
	want := map[string]verify.Unseen{ground: {Why: "between tikv in zone a and tikv in zone b: nothing gets through NetworkFault cut"}}
	if got := verify.New(all).Unseen; !cmp.Equal(got, want) {
		t.Errorf("not measured is %+v, want %+v", got, want)
	}
}

// Where nothing gets to a port, another port shows the topology.
func TestAnotherPortShowsTheTopology(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(*compile.Object)
		want []string
		why  string
	}{
		"a port": {
			edit: func(o *compile.Object) { o.Ports = []api.PortRange{{First: 2379, Last: 2379}} },
			want: []string{"tikv-0>pd-0:2379 cut ports", "tikv-0>pd-0:2380 20ms topology/ground"},
		},
		"all ports": {
			edit: func(o *compile.Object) { o.Protocol = fault.ProtocolTCP },
			want: []string{"tikv-0>pd-0:2379 cut ports"}, why: "nothing gets through NetworkFault ports",
		},
	} {
		all := zonedPods(2, 1, part{tidbcluster.PD, 1}, part{tidbcluster.TiKV, 1})
		all[0].Agent, all[1].Zone = verify.NoAgent, "b"
		o := cut(all, "b", "a")
		o.Name = "ports"
		test.edit(&o)
		compiled(t, all, between(all, 0), o)
		plan := verify.New(all)
		if diff := cmp.Diff(test.want, texts(plan)); diff != "" || plan.Unseen[ground].Why != test.why {
			t.Errorf("%s: not measured since %q, tasks (-want +got):\n%s", name, plan.Unseen[ground].Why, diff)
		}
	}
}
