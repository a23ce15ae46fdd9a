package networkfault

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/keeper"
)

// topology creates a NetworkTopology. Its spec is JSON without its cluster.
func (w *world) topology(name, spec string) {
	w.t.Helper()
	t := &v1alpha1.NetworkTopology{ObjectMeta: metav1.ObjectMeta{Namespace: basic.Namespace, Name: name, UID: types.UID("nt-" + name), Generation: 1, CreationTimestamp: metav1.Time{Time: w.now}}}
	if err := json.Unmarshal([]byte(spec), &t.Spec); err != nil {
		w.t.Fatal(err)
	}
	t.Spec.Cluster = basic.Name
	if err := w.Create(w.t.Context(), t); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) topologyStatus(name string) v1alpha1.NetworkTopologyStatus {
	w.t.Helper()
	var t v1alpha1.NetworkTopology
	if err := w.Get(w.t.Context(), types.NamespacedName{Namespace: basic.Namespace, Name: name}, &t); err != nil {
		w.t.Fatal(err)
	}
	return t.Status
}

const threeZones = `{"spread": 3, "links": [{"between": ["a", "b"], "rtt": "1ms"}], "defaults": {"otherZone": "20ms"}, "duration": "10m"}`

func TestATopologyRunsAndEnds(t *testing.T) {
	w := newWorld(t)
	w.topology("ground", threeZones)
	result := w.reconcile()
	s := w.topologyStatus("ground")
	if s.Phase != v1alpha1.Running || s.Reason != decide.ReasonApplied || s.Applied != "8/8" || s.Zoned != "8/8" || len(s.Zones) != 3 {
		t.Fatalf("status %+v", s)
	}
	if n := w.agents.count(); n != 8 || result.RequeueAfter != 10*time.Minute {
		t.Errorf("%d agents hold it, and again after %s; want 8 and 10m", n, result.RequeueAfter)
	}
	want := []string{
		"ground Normal Started 1ms to 20ms RTT between 3 zones until 1970-01-12 13:56:40 UTC",
		"TidbCluster Normal TopologyStarted NetworkTopology ground: 1ms to 20ms RTT between 3 zones until 1970-01-12 13:56:40 UTC",
		"ground Normal Applied 1ms to 20ms RTT between 3 zones, in force at 8/8 pods",
		"TidbCluster Normal TopologyApplied NetworkTopology ground: 1ms to 20ms RTT between 3 zones, in force at 8/8 pods",
	}
	if got := w.events.take(); !slices.Equal(got, want) {
		t.Errorf("Events %q, want %q", got, want)
	}
	writes := w.writes
	for range 60 {
		w.now = w.now.Add(time.Second + 123*time.Millisecond)
		w.reconcile()
	}
	if w.writes != writes {
		t.Errorf("%d writes in a minute of quiet", w.writes-writes)
	}
	w.now = w.now.Add(10 * time.Minute)
	w.reconcile()
	if s := w.topologyStatus("ground"); s.Phase != v1alpha1.Ended || s.Reason != decide.ReasonExpired || w.agents.count() != 0 {
		t.Errorf("status %+v, %d agents hold it; want it to have ended", s, w.agents.count())
	}
}

// A topology and a fault of one name are two objects, of which each starts when that is
// written.
func TestAStartOfATopologyIsWrittenFirst(t *testing.T) {
	w := newWorld(t)
	w.topology("same", threeZones)
	w.fault("same", `{"from": ["tidb"], "rtt": "5ms", "untilDeleted": true}`)
	unwell := errors.New("etcd is unwell")
	w.refuseWrites = func(o client.Object) error {
		if kindOf(o) == "NetworkTopology" {
			return unwell
		}
		return nil
	}
	_, err := w.Reconcile(t.Context(), ctrl.Request{NamespacedName: basic})
	if !errors.Is(err, unwell) || !strings.Contains(err.Error(), "write status of NetworkTopology same") {
		t.Errorf("error %v, want %v", err, unwell)
	}
	for _, faults := range w.agents.held {
		for _, f := range faults {
			if f.Of() != "NetworkFault same" {
				t.Fatalf("an agent is to hold what comes of %s", f.Of())
			}
		}
	}
	if s := w.status("same"); s.Phase != v1alpha1.Running {
		t.Errorf("the fault is %+v, want it to run", s)
	}
	w.refuseWrites = nil
	w.reconcile()
	if s := w.topologyStatus("same"); s.Phase != v1alpha1.Running || s.Applied != "8/8" {
		t.Errorf("status %+v, want it to run", s)
	}
}

func TestAnotherTopologyFollows(t *testing.T) {
	w := newWorld(t)
	w.topology("first", threeZones)
	w.now = w.now.Add(time.Second)
	w.topology("second", `{"profile": "three-az", "spread": 3, "untilDeleted": true}`)
	w.reconcile()
	if s := w.topologyStatus("second"); s.Phase != v1alpha1.Pending || s.Reason != decide.ReasonAnotherTopology || !strings.Contains(s.Message, "NetworkTopology first") {
		t.Errorf("status %+v", s)
	}
	w.events.take()
	w.remove(&v1alpha1.NetworkTopology{}, "first")
	w.reconcile()
	if s := w.topologyStatus("second"); s.Phase != v1alpha1.Running || s.Reason != decide.ReasonApplied || s.What != "three-az" {
		t.Errorf("status %+v", s)
	}
	if got, want := w.events.take(), "TidbCluster Normal TopologyDeleted NetworkTopology first: deleted, and in force no more"; !slices.Contains(got, want) {
		t.Errorf("Events %q, want %q among them", got, want)
	}
}

// Zones follow the labels of nodes.
func TestZonesOfNodes(t *testing.T) {
	w := newWorld(t)
	label := func(node, zone string) {
		object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node, Labels: map[string]string{"rack": zone}}}
		if err := client.IgnoreAlreadyExists(w.Create(t.Context(), object)); err != nil {
			t.Fatal(err)
		}
		if err := w.Get(t.Context(), types.NamespacedName{Name: node}, object); err != nil {
			t.Fatal(err)
		}
		object.Labels["rack"] = zone
		if err := w.Update(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	label("node", "east")
	w.topology("racks", `{"zoneKey": "rack", "defaults": {"otherZone": "3ms"}, "untilDeleted": true}`)
	w.reconcile()
	if s := w.topologyStatus("racks"); s.Phase != v1alpha1.Pending || s.Reason != decide.ReasonNoZones || !strings.Contains(s.Message, "east (8 pods)") {
		t.Errorf("status %+v", s)
	}
	change(w, "basic-tikv-0", &corev1.Pod{}, func(p *corev1.Pod) { p.Spec.NodeName = "" })
	w.reconcile()
	if s := w.topologyStatus("racks"); !strings.Contains(s.Message, "the label rack of the pods' nodes; 1 pod on no node yet") {
		t.Errorf("status %+v", s)
	}
	label("other", "west")
	change(w, "basic-tikv-0", &corev1.Pod{}, func(p *corev1.Pod) { p.Spec.NodeName = "other" })
	w.reconcile()
	if s := w.topologyStatus("racks"); s.Phase != v1alpha1.Running || s.Applied != "8/8" || len(s.Zones) != 2 || !slices.Equal(s.Zones[1].Pods, []string{"basic-tikv-0"}) {
		t.Errorf("status %+v", s)
	}
	label("other", "east")
	w.reconcile()
	if s := w.topologyStatus("racks"); s.Phase != v1alpha1.Running || w.agents.count() != 0 {
		t.Errorf("%d agents hold something, status %+v", w.agents.count(), s)
	}
}

// What was put right is told on the topology too, and on the TidbCluster by the kind of what
// was lost.
func TestPutRightOfATopology(t *testing.T) {
	w := newWorld(t)
	w.topology("ground", threeZones)
	w.fault("slow", `{"from": ["pd(0)"], "to": ["tikv(0)"], "rtt": "5ms", "untilDeleted": true}`)
	w.reconcile()
	w.events.take()
	const lost = "pod basic-pd-0 had lost or changed faults of the controller, which were put right: "
	for of, want := range map[string][]string{
		"NetworkTopology ground": {"TidbCluster Warning TopologyPutRight " + lost + "NetworkTopology ground was missing", "ground Warning PutRight " + lost + "NetworkTopology ground was missing"},
		"NetworkFault slow":      {"TidbCluster Warning FaultPutRight " + lost + "NetworkFault slow was missing", "slow Warning PutRight " + lost + "NetworkFault slow was missing"},
		"":                       {"TidbCluster Warning FaultPutRight " + lost + `fault "x" was missing`},
	} {
		faults, missing := w.agents.held["basic-pd-0-uid"], "x"
		if i := slices.IndexFunc(faults, func(f decide.Fault) bool { return f.Of() == of }); i >= 0 {
			missing = faults[i].Name
		}
		target := keeper.Target{Pod: types.NamespacedName{Namespace: basic.Namespace, Name: "basic-pd-0"}, Faults: faults}
		PutRight{Reader: w, Events: w.events}.Tell(t.Context(), basic, target, []api.Change{{Name: missing, Action: api.ActionAdd}})
		if got := w.events.take(); !slices.Equal(got, want) {
			t.Errorf("%q: Events %q, want %q", of, got, want)
		}
	}
}
