package safety

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// A case is a cluster, by the arguments of judge, and objects, a line for each:
//
//	NAME [runs] [ports] [allow=RULE,...] [for=TIME]: EFFECT ONE OTHER [; EFFECT ONE OTHER]
//
// An effect is cut, loss=PERCENT or rtt=TIME, between components or pods: pd,tikv-0.
// The output has the rules that are broken, "now" where that may be over in a moment, and on the line "calls" what was asked for.
func TestJudge(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			cluster, pods := clusterOf(t, d)
			objects, all := objectsOf(t, d.Input, pods)
			var calls []string
			refusals := Judge(FactsOf(cluster, pods), objects, func(names []string) map[compile.Pair]compile.Effect {
				calls = append(calls, strings.Join(names, "+"))
				return sum(all, names)
			})
			var lines []string
			for _, r := range refusals {
				if named := Allowances(r.Message); !slices.Equal(named, []v1alpha1.Allowance{r.Rule}) {
					t.Errorf("the message of %s names %v:\n%s", r.Rule, named, r.Message)
				}
				now := ""
				if r.Momentary {
					now = " now"
				}
				lines = append(lines, fmt.Sprintf("%s:%s %s [%s]\n  %s", r.Object, now, r.Rule, strings.Join(r.Pods, " "), r.Message))
			}
			if len(lines) == 0 {
				lines = []string{"fine"}
			}
			return strings.Join(append(lines, "calls: "+strings.Join(calls, ", ")), "\n") + "\n"
		})
	})
}

// sum is what some objects do together, as compile.Effects says it.
func sum(all map[string]map[compile.Pair]compile.Effect, names []string) map[compile.Pair]compile.Effect {
	together := make(map[compile.Pair]compile.Effect)
	for _, name := range names {
		for pair, e := range all[name] {
			with := together[pair]
			passes := float64(fault.Hundred-with.Loss) / float64(fault.Hundred) * float64(fault.Hundred-e.Loss)
			together[pair] = compile.Effect{Partition: with.Partition || e.Partition, Loss: fault.Hundred - fault.Percent(passes), RTT: with.RTT + e.RTT}
		}
	}
	return together
}

// healthy is a cluster called "c" without a problem, in the zones a, b and c in turn.
func healthy(counts map[tidbcluster.Component]int) (*tcv1alpha1.TidbCluster, []Pod) {
	tc := &tcv1alpha1.TidbCluster{}
	var pods []Pod
	for _, component := range tidbcluster.Components() {
		for i := range counts[component] {
			pods = append(pods, Pod{Name: fmt.Sprintf("%s-%d", component, i), Component: component, Zone: string("abc"[i%3]), Ready: true})
		}
	}
	stores := func(component tidbcluster.Component, first int) map[string]tcv1alpha1.TiKVStore {
		all := make(map[string]tcv1alpha1.TiKVStore)
		for i := range counts[component] {
			id := strconv.Itoa(first + i)
			all[id] = tcv1alpha1.TiKVStore{ID: id, PodName: fmt.Sprintf("%s-%d", component, i), State: "Up"}
		}
		return all
	}
	if n := counts[tidbcluster.PD]; n > 0 {
		tc.Spec.PD = &tcv1alpha1.PDSpec{Replicas: int32(n), BaseImage: "pingcap/pd"} //nolint:gosec // it is small
		tc.Status.PD = tcv1alpha1.PDStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Members: map[string]tcv1alpha1.PDMember{}}
		for i := range n {
			tc.Status.PD.Members[fmt.Sprintf("pd-%d.c-pd-peer.test.svc", i)] = tcv1alpha1.PDMember{Health: true}
		}
	}
	if n := counts[tidbcluster.TiKV]; n > 0 {
		tc.Spec.TiKV = &tcv1alpha1.TiKVSpec{Replicas: int32(n)} //nolint:gosec // it is small
		tc.Status.TiKV = tcv1alpha1.TiKVStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Stores: stores(tidbcluster.TiKV, 1)}
	}
	if n := counts[tidbcluster.TiFlash]; n > 0 {
		tc.Spec.TiFlash = &tcv1alpha1.TiFlashSpec{Replicas: int32(n)} //nolint:gosec // it is small
		tc.Status.TiFlash = tcv1alpha1.TiFlashStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Stores: stores(tidbcluster.TiFlash, 101)}
	}
	if n := counts[tidbcluster.TiDB]; n > 0 {
		tc.Spec.TiDB = &tcv1alpha1.TiDBSpec{Replicas: int32(n)} //nolint:gosec // it is small
		tc.Status.TiDB = tcv1alpha1.TiDBStatus{Phase: tcv1alpha1.NormalPhase, Members: map[string]tcv1alpha1.TiDBMember{}}
		for i := range n {
			name := fmt.Sprintf("tidb-%d", i)
			tc.Status.TiDB.Members[name] = tcv1alpha1.TiDBMember{Name: name, Health: true}
		}
	}
	return tc, pods
}

func configure(tc *tcv1alpha1.TidbCluster, key string, value any) {
	if tc.Spec.PD.Config == nil {
		tc.Spec.PD.Config = tcv1alpha1.NewPDConfig()
	}
	tc.Spec.PD.Config.Set(key, value)
}

// clusterOf makes the cluster of a case: 3 PD and 3 TiKV unless it says otherwise.
func clusterOf(t *testing.T, d *datadriven.TestData) (*tcv1alpha1.TidbCluster, []Pod) {
	counts := map[tidbcluster.Component]int{tidbcluster.PD: 3, tidbcluster.TiKV: 3}
	for _, arg := range d.CmdArgs {
		if c, err := tidbcluster.ParseComponent(arg.Key); err == nil {
			counts[c], _ = strconv.Atoi(arg.Vals[0])
		}
	}
	tc, pods := healthy(counts)
	podAt := func(name string) int { return slices.IndexFunc(pods, func(p Pod) bool { return p.Name == name }) }
	for _, arg := range d.CmdArgs {
		for _, value := range arg.Vals {
			switch arg.Key {
			case "sick":
				makeSick(tc, value)
			case "unready":
				pods[podAt(value)].Ready = false
			case "gone":
				pods = slices.Delete(pods, podAt(value), podAt(value)+1)
			case "zones":
				zones, _ := strconv.Atoi(value)
				for i := range pods {
					pods[i].Zone = string("abc"[i%zones])
				}
			case "zoneless":
				pods[podAt(value)].Zone = ""
			case "nofailover":
				none := int32(0)
				map[string]func(){
					"pd": func() { tc.Spec.PD.MaxFailoverCount = &none }, "tikv": func() { tc.Spec.TiKV.MaxFailoverCount = &none },
					"tidb": func() { tc.Spec.TiDB.MaxFailoverCount = &none },
				}[value]()
			case "version":
				tc.Spec.Version = value
			case "lease", "replication.max-replicas":
				n, _ := strconv.ParseInt(value, 10, 64)
				configure(tc, arg.Key, n)
			case "replication.location-labels":
				configure(tc, arg.Key, []any{"region", value})
			case "status":
				change(t, tc, value)
			default:
				if _, err := tidbcluster.ParseComponent(arg.Key); err != nil {
					d.Fatalf(t, "unknown argument %s", arg.Key)
				}
			}
		}
	}
	return tc, pods
}

// makeSick makes PD and TiDB say that a member or store is not healthy.
func makeSick(tc *tcv1alpha1.TidbCluster, pod string) {
	for name := range tc.Status.PD.Members {
		if strings.HasPrefix(name, pod+".") {
			tc.Status.PD.Members[name] = tcv1alpha1.PDMember{}
		}
	}
	for _, stores := range []map[string]tcv1alpha1.TiKVStore{tc.Status.TiKV.Stores, tc.Status.TiFlash.Stores} {
		for id, s := range stores {
			if s.PodName == pod {
				s.State = "Disconnected"
				stores[id] = s
			}
		}
	}
	if _, ok := tc.Status.TiDB.Members[pod]; ok {
		tc.Status.TiDB.Members[pod] = tcv1alpha1.TiDBMember{Name: pod}
	}
}

// change makes the status, or what decides how to read it, unusual.
func change(t *testing.T, tc *tcv1alpha1.TidbCluster, what string) {
	switch what {
	case "pd-unsynced":
		tc.Status.PD.Synced = false
	case "tikv-unsynced":
		tc.Status.TiKV.Synced = false
	case "pd-peers":
		tc.Status.PD.PeerMembers = map[string]tcv1alpha1.PDMember{"other": {Health: true}}
	case "tikv-peers":
		tc.Status.TiKV.PeerStores = map[string]tcv1alpha1.TiKVStore{"9": {State: "Up"}}
	case "no-members":
		tc.Status.PD.Members = nil
	case "no-stores":
		tc.Status.TiKV.Stores = nil
	case "joins":
		tc.Spec.Cluster = &tcv1alpha1.TidbClusterRef{Name: "main"}
	case "tombstone":
		tc.Status.TiKV.Stores["70"] = tcv1alpha1.TiKVStore{ID: "70", PodName: "tikv-0", State: "Tombstone"}
	case "old-store":
		tc.Status.TiKV.Stores["71"] = tcv1alpha1.TiKVStore{ID: "71", PodName: "tikv-0", State: "Down"}
	case "paused":
		tc.Spec.Paused = true
	case "pd-upgrade":
		tc.Status.PD.Phase = tcv1alpha1.UpgradePhase
	case "tikv-scale":
		tc.Status.TiKV.Phase = tcv1alpha1.ScalePhase
	case "other-image":
		tc.Status.PD.Image = "pingcap/pd:v8.5.1"
	case "same-image":
		tc.Status.PD.Image = tc.PDImage()
	case "tikv-updating":
		tc.Status.TiKV.StatefulSet = &appsv1.StatefulSetStatus{Replicas: 3, UpdatedReplicas: 2, CurrentRevision: "1", UpdateRevision: "2"}
	case "tikv-updated": // the revisions stay different with the strategy OnDelete
		tc.Status.TiKV.StatefulSet = &appsv1.StatefulSetStatus{Replicas: 3, UpdatedReplicas: 3, CurrentRevision: "1", UpdateRevision: "2"}
	case "tidb-volumes":
		tc.Status.TiDB.VolReplaceInProgress = true
	default:
		t.Fatalf("unknown status %s", what)
	}
}

// objectsOf reads objects, and what each of them does.
func objectsOf(t *testing.T, text string, pods []Pod) ([]Object, map[string]map[compile.Pair]compile.Effect) {
	var objects []Object
	all := make(map[string]map[compile.Pair]compile.Effect)
	for line := range strings.Lines(text) {
		head, body, _ := strings.Cut(line, ":")
		words := strings.Fields(head)
		o := Object{Name: words[0], Starting: true, Length: time.Minute}
		for _, word := range words[1:] {
			key, value, _ := strings.Cut(word, "=")
			switch key {
			case "runs":
				o.Starting = false
			case "ports":
				o.Ports = true
			case "allow":
				for rule := range strings.SplitSeq(value, ",") {
					o.Allow = append(o.Allow, v1alpha1.Allowance(rule))
				}
			case "for":
				d, err := time.ParseDuration(value)
				if err != nil {
					t.Fatal(err)
				}
				o.Length = d
			default:
				t.Fatalf("unknown word %s", word)
			}
		}
		objects = append(objects, o)
		all[o.Name] = make(map[compile.Pair]compile.Effect)
		for part := range strings.SplitSeq(strings.TrimSpace(body), ";") {
			between(all[o.Name], strings.Fields(part), pods)
		}
	}
	return objects, all
}

// between adds an effect to all pairs of pods of two sides.
func between(effects map[compile.Pair]compile.Effect, words []string, pods []Pod) {
	side := func(list string) (names []string) {
		for name := range strings.SplitSeq(list, ",") {
			for _, p := range pods {
				if p.Name == name || string(p.Component) == name {
					names = append(names, p.Name)
				}
			}
		}
		return names
	}
	what, value, _ := strings.Cut(words[0], "=")
	for _, a := range side(words[1]) {
		for _, b := range side(words[2]) {
			if a == b {
				continue
			}
			pair := compile.Pair{A: min(a, b), B: max(a, b)}
			e := effects[pair]
			switch what {
			case "cut":
				e.Partition = true
			case "loss":
				percent, _ := strconv.ParseFloat(value, 64)
				e.Loss, _ = fault.ParsePercent(percent)
			case "rtt":
				e.RTT, _ = time.ParseDuration(value)
			}
			effects[pair] = e
		}
	}
}
