package safety

import (
	"fmt"
	"math/bits"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// drawCluster draws a cluster of usual shape of which somebody may be sick.
func drawCluster(t *rapid.T) (*tcv1alpha1.TidbCluster, []Pod) {
	tc, pods := healthy(map[tidbcluster.Component]int{
		tidbcluster.PD: rapid.SampledFrom([]int{1, 2, 3, 3, 3, 4, 5}).Draw(t, "PD"), tidbcluster.TiKV: rapid.SampledFrom([]int{0, 1, 2, 3, 3, 4, 5, 6}).Draw(t, "TiKV"),
		tidbcluster.TiDB: rapid.IntRange(0, 2).Draw(t, "TiDB"), tidbcluster.TiFlash: rapid.IntRange(0, 1).Draw(t, "TiFlash"),
	})
	for i := range pods {
		if pods[i].Ready = rapid.IntRange(0, 15).Draw(t, "unready") > 0; rapid.IntRange(0, 9).Draw(t, "sick") == 0 {
			makeSick(tc, pods[i].Name)
		}
	}
	configure(tc, "replication.max-replicas", int64(rapid.SampledFrom([]int{1, 3, 3, 5}).Draw(t, "replicas")))
	if rapid.Bool().Draw(t, "zones") {
		configure(tc, "replication.location-labels", "zone, host")
	}
	tc.Status.PD.Synced = rapid.IntRange(0, 9).Draw(t, "synced") > 0
	return tc, pods
}

// drawEffects draws what an object does to a few pairs.
func drawEffects(t *rapid.T, pods []Pod) map[compile.Pair]compile.Effect {
	all := make(map[compile.Pair]compile.Effect)
	for range rapid.IntRange(0, 5).Draw(t, "pairs") {
		if pair, ok := drawPair(t, pods); ok {
			all[pair] = rapid.SampledFrom([]compile.Effect{
				{Partition: true}, {Partition: true}, {Loss: 300_000}, {RTT: 700 * time.Millisecond}, {RTT: 5 * time.Second},
			}).Draw(t, "effect")
		}
	}
	return all
}

func drawPair(t *rapid.T, pods []Pod) (compile.Pair, bool) {
	a, b := rapid.SampledFrom(pods).Draw(t, "A").Name, rapid.SampledFrom(pods).Draw(t, "B").Name
	return compile.Pair{A: min(a, b), B: max(a, b)}, a != b
}

func rules() []v1alpha1.Allowance {
	return []v1alpha1.Allowance{v1alpha1.QuorumLoss, v1alpha1.Failover, v1alpha1.LongDelay, v1alpha1.UnhealthyStart, v1alpha1.Upgrade}
}

func drawObjects(t *rapid.T, pods []Pod) ([]Object, map[string]map[compile.Pair]compile.Effect) {
	var objects []Object
	all := make(map[string]map[compile.Pair]compile.Effect)
	for i := range rapid.IntRange(0, 4).Draw(t, "objects") {
		name := fmt.Sprintf("object-%d", i)
		objects = append(objects, Object{
			Name: name, Starting: rapid.Bool().Draw(t, "starting"), Length: rapid.SampledFrom([]time.Duration{0, time.Minute, 10 * time.Minute, time.Hour}).Draw(t, "length"),
			Allow: rapid.SliceOfDistinct(rapid.SampledFrom(rules()), rapid.ID).Draw(t, "allow"),
		})
		all[name] = drawEffects(t, pods)
	}
	return objects, all
}

func judged(f Facts, objects []Object, all map[string]map[compile.Pair]compile.Effect) []Refusal {
	return Judge(f, objects, func(names []string) map[compile.Pair]compile.Effect { return sum(all, names) })
}

// Later objects change nothing for those before them. Without the refused ones nobody is
// refused. Whoever allows everything is never refused. Neither the order of the pods nor
// a second judgement changes anything, and nobody is asked about twice.
func TestJudgement(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tc, pods := drawCluster(t)
		objects, all := drawObjects(t, pods)
		f := FactsOf(tc, pods)
		asked := make(map[string]bool)
		refused := Judge(f, objects, func(names []string) map[compile.Pair]compile.Effect {
			if key := strings.Join(names, " "); asked[key] || key == "" {
				t.Fatalf("asked twice, or about nobody: %q", key)
			} else {
				asked[key] = true
			}
			return sum(all, names)
		})
		if again := judged(FactsOf(tc, rapid.Permutation(pods).Draw(t, "pods in another order")), objects, all); !reflect.DeepEqual(again, refused) {
			t.Fatalf("%+v\nwith pods in another order\n%+v", refused, again)
		}
		of := func(o Object) bool {
			return slices.ContainsFunc(refused, func(r Refusal) bool { return r.Object == o.Name })
		}
		for _, r := range refused {
			i := slices.IndexFunc(objects, func(o Object) bool { return o.Name == r.Object })
			if slices.Contains(objects[i].Allow, r.Rule) || r.Message == "" || !slices.IsSorted(r.Pods) {
				t.Fatalf("%+v of %+v", r, objects[i])
			}
		}
		// The victims of what runs are of the past: they stay as they are.
		starting := slices.DeleteFunc(slices.Clone(objects), func(o Object) bool { return !o.Starting })
		whole := judged(f, starting, all)
		part := judged(f, starting[:len(starting)/2], all)
		if len(part) > len(whole) || len(part) > 0 && !reflect.DeepEqual(part, whole[:len(part)]) {
			t.Fatalf("%+v\nand without the later objects\n%+v", whole, part)
		}
		if !slices.ContainsFunc(objects, func(o Object) bool { return !o.Starting && of(o) }) {
			if rest := judged(f, slices.DeleteFunc(slices.Clone(objects), of), all); len(rest) > 0 {
				t.Fatalf("%+v\nand without the refused\n%+v", refused, rest)
			}
		}
		for i := range objects {
			objects[i].Allow = rules()
		}
		if r := judged(f, objects, all); len(r) > 0 {
			t.Fatalf("%+v, and all is allowed", r)
		}
	})
}

// One more pair that is severed never makes a cluster safe.
func TestSeveringMoreIsNeverSafer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tc, pods := drawCluster(t)
		f := FactsOf(tc, pods)
		all := map[string]map[compile.Pair]compile.Effect{"less": drawEffects(t, pods), "more": {}}
		if pair, ok := drawPair(t, pods); ok {
			all["more"][pair] = compile.Effect{Partition: true}
		}
		broken := func(names ...string) (rules []v1alpha1.Allowance) {
			object := []Object{{Name: "it", Starting: true, Length: time.Hour}}
			for _, r := range Judge(f, object, func([]string) map[compile.Pair]compile.Effect { return sum(all, names) }) {
				rules = append(rules, r.Rule)
			}
			return rules
		}
		less, more := broken("less"), broken("less", "more")
		for _, rule := range less {
			if !slices.Contains(more, rule) {
				t.Fatalf("%s is broken without %v and not with it", rule, all["more"])
			}
		}
	})
}

// The verdict is that of trying every choice of members and of failure domains.
func TestVerdictIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := graph{size: rapid.IntRange(1, 5).Draw(t, "members"), losable: rapid.IntRange(0, 3).Draw(t, "losable")}
		few := rapid.Custom(func(t *rapid.T) (m members) {
			for _, i := range rapid.SliceOfN(rapid.IntRange(0, g.size-1), 0, 2).Draw(t, "members") {
				m |= 1 << i
			}
			return m
		})
		g.healthy = (1<<g.size - 1) &^ few.Draw(t, "not healthy")
		for i := range g.size {
			for j := range i {
				if rapid.IntRange(0, 3).Draw(t, "apart") == 0 {
					g.apart[i], g.apart[j] = g.apart[i]|1<<j, g.apart[j]|1<<i
				}
			}
		}
		domains := rapid.IntRange(0, 7).Draw(t, "domains")
		for i := range domains {
			g.broken = append(g.broken, rapid.IntRange(0, 5).Draw(t, "broken") == 0)
			g.from = append(g.from, few.Draw(t, "from"))
			for j := range i {
				if rapid.IntRange(0, 4).Draw(t, "edge") == 0 {
					g.edges = append(g.edges, [2]int{j, i})
				}
			}
		}
		if got, want := g.verdict(), tried(g, domains); got != want {
			t.Fatalf("%+v is %d, want %d", g, got, want)
		}
	})
}

func tried(g graph, domains int) verdict {
	together := func(m uint) bool {
		for i := range g.size {
			if m>>i&1 == 1 && (g.healthy>>i&1 == 0 || uint(g.apart[i])&m != 0) {
				return false
			}
		}
		return bits.OnesCount(m) > g.size/2
	}
	keeps := func(m, lost uint) bool {
		for i := range domains {
			if lost>>i&1 == 0 && (g.broken[i] || uint(g.from[i])&m != 0) {
				return false
			}
		}
		return bits.OnesCount(lost) <= g.losable && !slices.ContainsFunc(g.edges, func(e [2]int) bool { return (lost>>e[0]|lost>>e[1])&1 == 0 })
	}
	best := lostByPD
	for m := range uint(1) << g.size {
		for lost := range uint(1) << domains {
			switch {
			case together(m) && keeps(m, lost):
				return kept
			case together(m):
				best = lostByTiKV
			}
		}
	}
	return best
}

// Whatever a status says, it is judged without a panic.
func TestAbsurdClusters(t *testing.T) {
	names := rapid.SampledFrom([]string{"", ".", "pd-0", "pd-0.peer", "tikv-0", "tikv-1", "x"})
	counts := rapid.Int32Range(-2, 4)
	sets := rapid.Custom(func(t *rapid.T) *appsv1.StatefulSetStatus {
		return rapid.SampledFrom([]*appsv1.StatefulSetStatus{nil, {}, {CurrentRevision: "1", UpdateRevision: "2", Replicas: counts.Draw(t, "set")}}).Draw(t, "set")
	})
	stores := rapid.MapOf(names, rapid.Custom(func(t *rapid.T) tcv1alpha1.TiKVStore {
		return tcv1alpha1.TiKVStore{PodName: names.Draw(t, "pod"), State: rapid.SampledFrom([]string{"", "Up", "Down", "Tombstone"}).Draw(t, "state")}
	}))
	values := rapid.SampledFrom([]any{nil, 3, int64(-1), int64(1) << 62, "zone", ",", []string{"zone"}, []any{1, nil, "zone"}, 1.5, map[string]any{}})
	rapid.Check(t, func(t *rapid.T) {
		tc := &tcv1alpha1.TidbCluster{}
		if rapid.Bool().Draw(t, "has PD") {
			tc.Spec.PD = &tcv1alpha1.PDSpec{Replicas: counts.Draw(t, "PD"), BaseImage: names.Draw(t, "image")}
			tc.Spec.PD.Config = rapid.SampledFrom([]*tcv1alpha1.PDConfigWraper{nil, {}, tcv1alpha1.NewPDConfig()}).Draw(t, "config")
			if c := tc.Spec.PD.Config; c != nil && c.GenericConfig != nil {
				c.MP = map[string]any{"lease": values.Draw(t, "lease"), "replication": rapid.SampledFrom([]any{nil, 7, map[string]any{
					"max-replicas": values.Draw(t, "replicas"), "location-labels": values.Draw(t, "labels"),
				}}).Draw(t, "replication")}
			}
		}
		if rapid.Bool().Draw(t, "has TiKV") {
			tc.Spec.TiKV = &tcv1alpha1.TiKVSpec{Replicas: counts.Draw(t, "TiKV")}
		}
		tc.Spec.Version = rapid.SampledFrom([]string{"", "v8.5.2", "v", "8", "latest", "v99999999999999999999.1.1"}).Draw(t, "version")
		tc.Spec.Cluster = rapid.SampledFrom([]*tcv1alpha1.TidbClusterRef{nil, nil, {}, {Name: "other"}}).Draw(t, "cluster")
		tc.Spec.PDMS = rapid.SampledFrom([][]*tcv1alpha1.PDMSSpec{nil, {nil}, {{Name: "tso", Replicas: 1}, {Name: "pd"}}}).Draw(t, "PD as microservices")
		tc.Status.PDMS = rapid.SampledFrom([]map[string]*tcv1alpha1.PDMSStatus{nil, {"tso": nil}, {"tso": {}}}).Draw(t, "their status")
		tc.Status.PD.Members = rapid.MapOf(names, rapid.Just(tcv1alpha1.PDMember{Health: true})).Draw(t, "members")
		tc.Status.TiDB.Members = rapid.MapOf(names, rapid.Just(tcv1alpha1.TiDBMember{})).Draw(t, "servers")
		tc.Status.PD.StatefulSet, tc.Status.TiKV.StatefulSet = sets.Draw(t, "PD"), sets.Draw(t, "TiKV")
		tc.Status.TiKV.Stores, tc.Status.TiFlash.Stores = stores.Draw(t, "TiKV"), stores.Draw(t, "TiFlash")
		var pods []Pod
		for _, name := range rapid.SliceOf(names).Draw(t, "pods") {
			pods = append(pods, Pod{Name: name, Component: rapid.SampledFrom(tidbcluster.Components()).Draw(t, "component"), Zone: names.Draw(t, "zone"), Ready: rapid.Bool().Draw(t, "ready")})
		}
		effects := map[compile.Pair]compile.Effect{
			{A: names.Draw(t, "A"), B: names.Draw(t, "B")}: {Partition: true}, {A: names.Draw(t, "A"), B: names.Draw(t, "B")}: {Loss: fault.Hundred, RTT: -time.Hour},
		}
		for _, f := range []Facts{FactsOf(tc, pods), FactsOf(nil, pods), {}} {
			objects := []Object{{Name: "a", Length: -time.Hour}, {Name: "a"}, {Starting: true}}
			for _, r := range Judge(f, objects, func([]string) map[compile.Pair]compile.Effect { return effects }) {
				if r.Message == "" || strings.Contains(r.Message, "%!") {
					t.Fatalf("%+v", r)
				}
			}
		}
	})
}
