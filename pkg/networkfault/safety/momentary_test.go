package safety

import (
	"slices"
	"testing"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/networkfault/compile"
)

// What a start breaks for the moment it does not break in the same cluster once all are
// well, and the rest it does.
func TestWhatIsForTheMoment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tc, pods := drawCluster(t)
		objects := []Object{{Name: "a", Starting: true}}
		all := map[string]map[compile.Pair]compile.Effect{"a": drawEffects(t, pods)}
		refused := judged(FactsOf(tc, pods), objects, all)
		makeWell(tc, pods)
		lasting := judged(FactsOf(tc, pods), objects, all)
		for _, r := range refused {
			isLasting := slices.ContainsFunc(lasting, func(l Refusal) bool { return l.Rule == r.Rule })
			if r.Momentary == isLasting {
				t.Fatalf("%+v, and once all are well %+v", r, lasting)
			}
		}
		for _, l := range lasting {
			if l.Momentary {
				t.Fatalf("%+v, and all are well", l)
			}
		}
	})
}

// makeWell undoes what drawCluster does to the health of a cluster.
func makeWell(tc *tcv1alpha1.TidbCluster, pods []Pod) {
	for i := range pods {
		pods[i].Ready = true
	}
	for name, m := range tc.Status.PD.Members {
		m.Health = true
		tc.Status.PD.Members[name] = m
	}
	for name, m := range tc.Status.TiDB.Members {
		m.Health = true
		tc.Status.TiDB.Members[name] = m
	}
	for _, stores := range []map[string]tcv1alpha1.TiKVStore{tc.Status.TiKV.Stores, tc.Status.TiFlash.Stores} {
		for id, s := range stores {
			s.State = tcv1alpha1.TiKVStateUp
			stores[id] = s
		}
	}
	tc.Status.PD.Synced = true
}
