package madeup

import (
	"fmt"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Replicas is how many pods of each component a TidbCluster has.
type Replicas struct{ PD, TiKV, TiDB int32 }

// Pods returns the names of the pods, by component and ordinal.
func (r Replicas) Pods(cluster string) []Pod {
	var all []Pod
	for _, c := range []struct {
		component tidbcluster.Component
		replicas  int32
	}{{tidbcluster.PD, r.PD}, {tidbcluster.TiKV, r.TiKV}, {tidbcluster.TiDB, r.TiDB}} {
		for i := range c.replicas {
			set := cluster + "-" + string(c.component)
			all = append(all, Pod{Name: fmt.Sprintf("%s-%d", set, i), Set: set, Component: c.component})
		}
	}
	return all
}

// Pod is a pod of a TidbCluster, and the name of its StatefulSet.
type Pod struct {
	Name, Set string
	Component tidbcluster.Component
}

// Cluster returns a TidbCluster with the status that TiDB Operator writes while it is
// healthy. The first pod of PD leads. TiDB Operator never replaces its members, so that
// no fault is too long for it.
func Cluster(name string, r Replicas) *tcv1alpha1.TidbCluster {
	none := new(int32(0))
	tc := &tcv1alpha1.TidbCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
	tc.Spec = tcv1alpha1.TidbClusterSpec{
		Version: "v8.5.2",
		PD:      &tcv1alpha1.PDSpec{Replicas: r.PD, BaseImage: "pingcap/pd", MaxFailoverCount: none},
		TiKV:    &tcv1alpha1.TiKVSpec{Replicas: r.TiKV, BaseImage: "pingcap/tikv", MaxFailoverCount: none},
		TiDB:    &tcv1alpha1.TiDBSpec{Replicas: r.TiDB, BaseImage: "pingcap/tidb", MaxFailoverCount: none},
	}
	pd, tikv, tidb := map[string]tcv1alpha1.PDMember{}, map[string]tcv1alpha1.TiKVStore{}, map[string]tcv1alpha1.TiDBMember{}
	for _, p := range r.Pods(name) {
		switch p.Component {
		case tidbcluster.PD:
			pd[p.Name] = tcv1alpha1.PDMember{Name: p.Name, ID: fmt.Sprint(len(pd) + 1), Health: true}
		case tidbcluster.TiKV:
			id := fmt.Sprint(len(tikv) + 1)
			tikv[id] = tcv1alpha1.TiKVStore{ID: id, PodName: p.Name, State: tcv1alpha1.TiKVStateUp, LeaderCount: 10}
		default:
			tidb[p.Name] = tcv1alpha1.TiDBMember{Name: p.Name, Health: true}
		}
	}
	tc.Status.PD = tcv1alpha1.PDStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Members: pd, Leader: pd[name+"-pd-0"]}
	tc.Status.TiKV = tcv1alpha1.TiKVStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Stores: tikv}
	tc.Status.TiDB = tcv1alpha1.TiDBStatus{Phase: tcv1alpha1.NormalPhase, Members: tidb}
	return tc
}

// Unstructured returns spec and status of a TidbCluster as its JSON has them.
func Unstructured(tc *tcv1alpha1.TidbCluster) (spec, status map[string]any, err error) {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(tc)
	if err != nil {
		return nil, nil, fmt.Errorf("encode TidbCluster: %w", err)
	}
	return object["spec"].(map[string]any), object["status"].(map[string]any), nil
}
