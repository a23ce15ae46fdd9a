package selector

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// pods makes pods called basic-COMPONENT-ORDINAL, in the zones a, b and c in turn.
func pods(counts map[tidbcluster.Component]int) []Pod {
	var all []Pod
	for component, n := range counts {
		for i := range n {
			all = append(all, Pod{fmt.Sprintf("basic-%s-%d", component, i), component, string("abc"[i%3])})
		}
	}
	return all
}

// usual is a healthy cluster: PD 1 leads, TiKV 2 is the busiest, TiCDC 1 is the owner.
func usual() Cluster {
	status := &v1alpha1.TidbClusterStatus{}
	status.PD.Synced, status.TiKV.Synced, status.TiFlash.Synced, status.TiCDC.Synced = true, true, true, true
	status.PD.Members = map[string]v1alpha1.PDMember{"basic-pd-0": {}, "basic-pd-1": {}, "basic-pd-2": {}}
	status.PD.Leader.Name = "basic-pd-1"
	status.TiKV.Stores = map[string]v1alpha1.TiKVStore{
		"1": {ID: "1", PodName: "basic-tikv-0", LeaderCount: 5, State: "Up"}, "4": {ID: "4", PodName: "basic-tikv-1", LeaderCount: 90, State: "Down"},
		"5": {ID: "5", PodName: "basic-tikv-2", LeaderCount: 7, State: "Up"}, "6": {ID: "6", PodName: "basic-tikv-3", LeaderCount: 7, State: "Up"},
	}
	status.TiKV.TombstoneStores = map[string]v1alpha1.TiKVStore{"9": {ID: "9", PodName: "basic-tikv-0"}}
	status.TiFlash.Stores = map[string]v1alpha1.TiKVStore{"7": {ID: "7", PodName: "basic-tiflash-0", State: "Up"}}
	status.TiCDC.Captures = map[string]v1alpha1.TiCDCCapture{"basic-ticdc-0": {PodName: "basic-ticdc-0"}, "basic-ticdc-1": {PodName: "basic-ticdc-1", IsOwner: true}}
	return Cluster{
		Pods: append(pods(map[tidbcluster.Component]int{
			tidbcluster.PD: 3, tidbcluster.TiKV: 4, tidbcluster.TiDB: 2, tidbcluster.TiFlash: 1, tidbcluster.TiCDC: 2,
		}), Pod{Name: "basic-discovery-7d8f9", Component: tidbcluster.Discovery, Zone: "a"}),
		Roles: RolesOf(status),
	}
}

// selected returns the names of what a text selects, without the cluster's name.
func selected(c Cluster, text string, seed int64, from Selection) (string, error) {
	all, err := Parse(text)
	if err != nil {
		return "", err
	}
	got, err := c.Select(all, seed, from)
	var names []string
	for _, p := range got.Pods {
		names = append(names, strings.TrimPrefix(p.Pod.Name, "basic-"))
	}
	for _, prefix := range got.CIDRs {
		names = append(names, prefix.String())
	}
	return strings.Join(names, " "), err
}

func TestSelect(t *testing.T) {
	nobody, unknown := ErrNobody, ErrUnknownRole
	for _, test := range []struct {
		text   string
		change func(*Cluster) // of the usual cluster; nil for none
		want   string
		err    error
		says   string
	}{
		{text: "pd", want: "pd-0 pd-1 pd-2"},
		{text: "pd(leader)", want: "pd-1"},
		{text: "pd(follower)", want: "pd-0 pd-2"},
		{text: "pd(leader)@b", want: "pd-1"},
		{text: "pd(leader)@a", err: nobody, says: "selector pd(leader)@a: selects nobody: the cluster has 3 pods of pd, 1 of them in zone a"},
		{text: "pd(leader)", change: func(c *Cluster) { c.Roles.Leader = "" }, err: unknown, says: "the status of the TidbCluster names none"},
		{text: "pd(leader)", change: func(c *Cluster) { c.Roles.Unsynced[tidbcluster.PD] = true }, err: unknown, says: "status.pd.synced is false"},
		{text: "pd", change: func(c *Cluster) { c.Roles.Unsynced[tidbcluster.PD] = true }, want: "pd-0 pd-1 pd-2"},
		{text: "pd(follower)", change: func(c *Cluster) {
			c.Pods = pods(map[tidbcluster.Component]int{tidbcluster.PD: 1})
			c.Roles.Leader = "basic-pd-0"
		}, err: nobody, says: "1 pod of pd"},
		{text: "pd(leader)", change: func(c *Cluster) { c.Pods = pods(map[tidbcluster.Component]int{tidbcluster.TiKV: 3}) }, err: nobody, says: "no pods of pd"},
		{text: "tikv(busiest)", want: "tikv-2"},
		{text: "tikv(busiest)@a", want: "tikv-3"},
		{text: "tikv(busiest)@b", err: unknown},
		{text: "tikv(busiest)", change: func(c *Cluster) { c.Roles.Stores = nil }, err: unknown},
		{text: "tikv(store=4)", want: "tikv-1"},
		{text: "tikv(store=7)", err: nobody, says: "no store of tikv has the ID 7"},
		{text: "tiflash(store=7)", want: "tiflash-0"},
		{text: "tikv(store=9)", err: nobody},
		{text: "ticdc(owner)", want: "ticdc-1"},
		{text: "ticdc(owner)", change: func(c *Cluster) { c.Roles.Owner = "" }, err: unknown},
		{text: "tikv(1)", want: "tikv-1"},
		{text: "tikv(7)", err: nobody},
		{text: "tikv(random:5)", err: nobody, says: "4 pods of tikv"},
		{text: "tikv(minority)", change: func(c *Cluster) { c.Pods = pods(map[tidbcluster.Component]int{tidbcluster.TiKV: 2}) }, err: nobody},
		{text: "tikv(minority)", change: func(c *Cluster) { c.Pods = pods(map[tidbcluster.Component]int{tidbcluster.TiKV: 1}) }, err: nobody},
		{text: "tikv(majority)", change: func(c *Cluster) { c.Pods = pods(map[tidbcluster.Component]int{tidbcluster.TiKV: 1}) }, want: "tikv-0"},
		{text: "tikv(half)", change: func(c *Cluster) { c.Pods = pods(map[tidbcluster.Component]int{tidbcluster.TiKV: 1}) }, err: nobody},
		{text: "pump", err: nobody, says: "0 pods of pump"},
		{text: "tikv@d", err: nobody, says: "4 pods of tikv, 0 of them in zone d"},
		{text: "discovery", want: "discovery-7d8f9"},
		{text: "pod/basic-discovery-7d8f9", want: "discovery-7d8f9"},
		{text: "pod/other-tikv-0", err: nobody},
		{text: "all@c", want: "pd-2 tikv-2"},
		{text: "all@d", err: nobody},
		{text: "tikv(0), tikv, tidb(1), tikv(0)", want: "tidb-1 tikv-0 tikv-1 tikv-2 tikv-3"},
		{text: "cidr/10.1.0.0/16, cidr/10.0.0.0/8, cidr/10.1.0.0/16", want: "10.0.0.0/8 10.1.0.0/16"},
		{text: "tikv, pump", err: nobody, says: "selector pump"},
	} {
		c := usual()
		if test.change != nil {
			test.change(&c)
		}
		got, err := selected(c, test.text, 7, Selection{})
		if got != test.want || !errors.Is(err, test.err) || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %q, %v; want %q, %v that says %q", test.text, got, err, test.want, test.err, test.says)
		}
	}
}

func TestOthersAreWhatIsNotInFrom(t *testing.T) {
	c := usual()
	from, err := c.Select([]Selector{{Component: tidbcluster.TiKV}, {Component: tidbcluster.TiFlash}, {Component: tidbcluster.TiCDC}}, 0, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := selected(c, "others", 0, from); err != nil || got != "pd-0 pd-1 pd-2 tidb-0 tidb-1" {
		t.Errorf("%q, %v", got, err)
	}
	everything, err := c.Select([]Selector{{All: true}}, 0, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := selected(c, "others", 0, everything); !errors.Is(err, ErrNobody) {
		t.Errorf("beside all: %q, %v", got, err)
	}
}

// The first selector that selects a pod is told.
func TestSelectionTellsTheSelector(t *testing.T) {
	all, err := Parse("tikv(1), tikv")
	if err != nil {
		t.Fatal(err)
	}
	got, err := usual().Select(all, 0, Selection{})
	if err != nil || got.Pods[0].Selector.String() != "tikv" || got.Pods[1].Selector.String() != "tikv(1)" {
		t.Errorf("%+v, %v", got, err)
	}
}

// What is picked by chance depends on the seed and on the names, and on nothing else.
func TestChance(t *testing.T) {
	seen := map[string]bool{}
	for n := 1; n <= 9; n++ {
		for seed := range int64(40) {
			c := Cluster{Pods: pods(map[tidbcluster.Component]int{tidbcluster.TiKV: n, tidbcluster.PD: 2})}
			pick := func(c Cluster, text string) []string {
				names, err := selected(c, text, seed, Selection{})
				if err != nil && !errors.Is(err, ErrNobody) {
					t.Fatal(err)
				}
				return strings.Fields(names)
			}
			minority, majority, one := pick(c, "tikv(minority)"), pick(c, "tikv(majority)"), pick(c, "tikv(random)")
			if 2*len(minority) >= n || len(minority)+len(majority) != n || 2*len(majority) <= n || slices.ContainsFunc(minority, func(p string) bool { return slices.Contains(majority, p) }) {
				t.Fatalf("of %d with seed %d: minority %q, majority %q", n, seed, minority, majority)
			}
			if half := pick(c, "tikv(half)"); len(half) != n/2 {
				t.Fatalf("half of %d is %q", n, half)
			}
			if n == 9 {
				seen[one[0]] = true
			}
			rand.Shuffle(len(c.Pods), func(i, j int) { c.Pods[i], c.Pods[j] = c.Pods[j], c.Pods[i] })
			if again := pick(c, "tikv(random)"); !slices.Equal(again, one) {
				t.Fatalf("with seed %d: %q, and in another order %q", seed, one, again)
			}
			without := slices.IndexFunc(c.Pods, func(p Pod) bool { return p.Name != "basic-"+one[0] })
			c.Pods = slices.Delete(c.Pods, without, without+1)
			if again := pick(c, "tikv(random)"); !slices.Equal(again, one) {
				t.Fatalf("with seed %d: %q, and without another pod %q", seed, one, again)
			}
		}
	}
	if len(seen) < 7 {
		t.Errorf("of nine pods, forty seeds choose %d", len(seen))
	}
}

// Whatever TiDB Operator writes into a status, a role that it does not tell is none.
func TestRolesOfOddStatuses(t *testing.T) {
	if r := RolesOf(&v1alpha1.TidbClusterStatus{}); r.Leader != "" || r.Owner != "" || len(r.Stores) != 0 || !r.Unsynced[tidbcluster.PD] {
		t.Errorf("of a new cluster: %+v", r)
	}
	status := &v1alpha1.TidbClusterStatus{}
	status.PD.Members = map[string]v1alpha1.PDMember{"basic-pd-0.basic-pd-peer.db.svc.eu": {}}
	status.PD.Leader.Name = "basic-pd-0.basic-pd-peer.db.svc.eu"
	status.TiKV.Stores = map[string]v1alpha1.TiKVStore{"x": {ID: "x", PodName: "basic-tikv-0"}}
	if r := RolesOf(status); r.Leader != "basic-pd-0" || len(r.Stores) != 0 {
		t.Errorf("with DNS names: %+v", r)
	}
	status.PD.PeerMembers = map[string]v1alpha1.PDMember{"other-pd-0": {}}
	status.PD.Leader.Name = "other-pd-0"
	if r := RolesOf(status); r.Leader != "" {
		t.Errorf("the leader is another TidbCluster's: %+v", r)
	}
}
