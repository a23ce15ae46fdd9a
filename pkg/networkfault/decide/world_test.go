package decide_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// world is a TidbCluster of 3 PD, 3 TiKV and 2 TiDB, and its faults.
type world struct {
	t testing.TB
	decide.Input
}

func newWorld(t testing.TB) *world {
	t.Helper()
	tc := &tcv1alpha1.TidbCluster{ObjectMeta: metav1.ObjectMeta{Name: "basic", Annotations: map[string]string{"tidelay.io/inject": "true"}}}
	tc.Spec = tcv1alpha1.TidbClusterSpec{
		Version: "v8.5.2", PD: &tcv1alpha1.PDSpec{Replicas: 3, BaseImage: "pingcap/pd"},
		TiKV: &tcv1alpha1.TiKVSpec{Replicas: 3}, TiDB: &tcv1alpha1.TiDBSpec{Replicas: 2},
	}
	tc.Status.PD = tcv1alpha1.PDStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Members: map[string]tcv1alpha1.PDMember{}}
	tc.Status.TiKV = tcv1alpha1.TiKVStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Stores: map[string]tcv1alpha1.TiKVStore{}}
	tc.Status.TiDB = tcv1alpha1.TiDBStatus{Phase: tcv1alpha1.NormalPhase, Members: map[string]tcv1alpha1.TiDBMember{}}
	w := &world{t: t, Input: decide.Input{Cluster: tc, Now: time.Unix(1_000_000, 500_000_000)}}
	for component, n := range map[tidbcluster.Component]int{tidbcluster.PD: 3, tidbcluster.TiKV: 3, tidbcluster.TiDB: 2} {
		for i := range n {
			name := fmt.Sprintf("basic-%s-%d", component, i)
			switch component {
			case tidbcluster.PD:
				tc.Status.PD.Members[name] = tcv1alpha1.PDMember{Name: name, Health: true}
			case tidbcluster.TiKV:
				tc.Status.TiKV.Stores[fmt.Sprint(i+1)] = tcv1alpha1.TiKVStore{ID: fmt.Sprint(i + 1), PodName: name, State: tcv1alpha1.TiKVStateUp}
			default:
				tc.Status.TiDB.Members[name] = tcv1alpha1.TiDBMember{Name: name, Health: true}
			}
			addr := netip.AddrFrom4([4]byte{10, 0, byte(len(component)), byte(len(w.Pods))})
			w.Pods = append(w.Pods, decide.Pod{Name: name, Component: component, Addrs: []netip.Addr{addr}, Agent: true, Ready: true})
		}
	}
	w.lead("basic-pd-1")
	return w
}

func (w *world) lead(pod string) { w.Cluster.Status.PD.Leader = w.Cluster.Status.PD.Members[pod] }

func (w *world) pod(name string) *decide.Pod {
	w.t.Helper()
	i := slices.IndexFunc(w.Pods, func(p decide.Pod) bool { return p.Name == name })
	if i < 0 {
		w.t.Fatalf("no pod %s", name)
	}
	return &w.Pods[i]
}

// fault adds a fault. Its spec is JSON without its cluster.
func (w *world) fault(name, spec string) *v1alpha1.NetworkFault {
	w.t.Helper()
	f := &v1alpha1.NetworkFault{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1, CreationTimestamp: metav1.Unix(int64(len(w.Faults)), 0)}}
	if err := json.Unmarshal([]byte(spec), &f.Spec); err != nil {
		w.t.Fatal(err)
	}
	f.Spec.Cluster = "basic"
	if f.Spec.To == nil {
		f.Spec.To = []v1alpha1.Selector{"others"}
	}
	w.Faults = append(w.Faults, f)
	return f
}

// decide decides and writes the statuses, as the API server keeps them.
func (w *world) decide() decide.Decision {
	w.t.Helper()
	d := decide.Decide(w.Input)
	for _, f := range w.Faults {
		status, ok := d.Statuses[f.Name]
		if !ok {
			continue
		}
		kept, err := json.Marshal(status)
		if err != nil {
			w.t.Fatal(err)
		}
		f.Status = v1alpha1.NetworkFaultStatus{}
		if err := json.Unmarshal(kept, &f.Status); err != nil {
			w.t.Fatal(err)
		}
	}
	w.writeTopologies(d)
	return d
}

// hold has every agent hold what was decided.
func (w *world) hold(d decide.Decision) {
	for i := range w.Pods {
		w.Pods[i].State = holding(d.Faults[w.Pods[i].Name])
	}
}

// holding is the state of an agent that has confirmed faults.
func holding(faults []decide.Fault) (s decide.AgentState) {
	for _, f := range faults {
		s.Holds = append(s.Holds, f.Fault)
	}
	return s
}

// run decides until the agents hold what was decided.
func (w *world) run() decide.Decision {
	w.t.Helper()
	w.hold(w.decide())
	return w.decide()
}

func (w *world) want(f *v1alpha1.NetworkFault, phase v1alpha1.Phase, reason, words string) {
	w.t.Helper()
	s := f.Status
	if s.Phase != phase || s.Reason != reason || !strings.Contains(s.Message, words) {
		w.t.Errorf("%s is %s, %s: %q; want %s, %s: %q", f.Name, s.Phase, s.Reason, s.Message, phase, reason, words)
	}
}

// faulted returns the pods whose agents are to hold something.
func faulted(d decide.Decision) (pods []string) {
	for pod, faults := range d.Faults {
		if len(faults) > 0 {
			pods = append(pods, pod)
		}
	}
	slices.Sort(pods)
	return pods
}

const slowLeader = `{"from": ["pd(leader)"], "rtt": "50ms", "duration": "90.5s"}`
