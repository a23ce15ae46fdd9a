package networkfault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

func TestAFaultRunsAndEnds(t *testing.T) {
	w := newWorld(t)
	w.fault("slow", `{"from": ["pd(leader)"], "rtt": "50ms", "duration": "10m"}`)
	result := w.reconcile()
	if s := w.status("slow"); s.Phase != v1alpha1.Running || s.Reason != decide.ReasonApplied || s.Applied != "8/8" {
		t.Fatalf("status %+v", s)
	}
	if n := w.agents.count(); n != 8 {
		t.Errorf("%d agents hold the fault, want 8", n)
	}
	if result.RequeueAfter != 10*time.Minute {
		t.Errorf("again after %s, want 10m", result.RequeueAfter)
	}
	want := []string{
		"slow Normal Started +50ms RTT until 1970-01-12 13:56:40 UTC",
		"TidbCluster Normal FaultStarted NetworkFault slow: +50ms RTT until 1970-01-12 13:56:40 UTC",
		"slow Normal Applied +50ms RTT, in force at 8/8 pods",
		"TidbCluster Normal FaultApplied NetworkFault slow: +50ms RTT, in force at 8/8 pods",
	}
	if got := w.events.take(); !slices.Equal(got, want) {
		t.Errorf("Events %q, want %q", got, want)
	}

	w.now = w.now.Add(10 * time.Minute)
	w.reconcile()
	if s := w.status("slow"); s.Phase != v1alpha1.Ended || s.Reason != decide.ReasonExpired || w.agents.count() != 0 {
		t.Errorf("status %+v, %d agents hold it; want it to have ended", s, w.agents.count())
	}
	if got := w.events.take(); len(got) != 2 || got[0] != "slow Normal Ended Expired: its time is over" {
		t.Errorf("Events %q", got)
	}
}

func TestNothingIsWrittenInQuiet(t *testing.T) {
	w := newWorld(t)
	w.fault("slow", `{"from": ["tikv"], "delay": "5ms", "untilDeleted": true}`)
	w.fault("odd", `{"from": ["tikv(7)"], "delay": "5ms", "untilDeleted": true}`)
	w.reconcile()
	writes := w.writes
	if writes != 3 { // the start, applied, and the refusal
		t.Errorf("%d writes, want 3", writes)
	}
	for range 60 {
		w.now = w.now.Add(time.Second + 123*time.Millisecond)
		w.reconcile()
	}
	if w.writes != writes {
		t.Errorf("%d writes in a minute of quiet", w.writes-writes)
	}
}

// TestAStartIsWrittenFirst is about the order of the start's writing and its doing.
func TestAStartIsWrittenFirst(t *testing.T) {
	w := newWorld(t)
	unwell := errors.New("etcd is unwell")
	w.fault("slow", `{"from": ["pd(leader)"], "rtt": "50ms", "untilDeleted": true}`)
	w.fault("other", `{"from": ["tidb"], "rtt": "5ms", "untilDeleted": true}`)
	w.refuseWrites = func(f client.Object) error {
		if w.agents.count() > 0 && f.GetName() == "slow" {
			t.Errorf("%s started before that was written", f.GetName())
		}
		if f.GetName() == "slow" {
			return unwell
		}
		return nil
	}
	_, err := w.Reconcile(t.Context(), ctrl.Request{NamespacedName: basic})
	if !errors.Is(err, unwell) {
		t.Errorf("error %v, want %v", err, unwell)
	}
	if s := w.status("other"); s.Phase != v1alpha1.Running {
		t.Errorf("the other fault is %s, want it to run", s.Phase)
	}
	for _, faults := range w.agents.held {
		for _, f := range faults {
			if slices.Contains(f.Objects, "slow") {
				t.Fatalf("an agent is to hold %+v, whose start is not written", f)
			}
		}
	}

	w.refuseWrites = nil
	w.reconcile()
	if s := w.status("slow"); s.Phase != v1alpha1.Running || s.Applied != "8/8" {
		t.Errorf("status %+v, want it to run", s)
	}
}

// TestAnEndNeedsNoWriting ends faults while the API server takes no status.
func TestAnEndNeedsNoWriting(t *testing.T) {
	for name, end := range map[string]func(*world){
		"time": func(w *world) { w.now = w.now.Add(time.Minute) },
		"pause": func(w *world) {
			change(w, "slow", &v1alpha1.NetworkFault{}, func(f *v1alpha1.NetworkFault) { f.Spec.Paused = true })
		},
		"protect": func(w *world) { w.annotate(tidbcluster.ProtectAnnotation, "true") },
		"opt out": func(w *world) { w.annotate(tidbcluster.InjectAnnotation, "false") },
		"cluster": func(w *world) { w.remove(&tcv1alpha1.TidbCluster{}, basic.Name) },
		"delete":  func(w *world) { w.remove(&v1alpha1.NetworkFault{}, "slow") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fault("slow", `{"from": ["pd(leader)"], "rtt": "50ms", "duration": "1m"}`)
			w.reconcile()
			w.refuseWrites = func(client.Object) error { return errors.New("etcd is unwell") }
			end(w)
			for range 3 {
				_, _ = w.Reconcile(t.Context(), ctrl.Request{NamespacedName: basic})
				if n, all := w.agents.count(), len(w.agents.held); n != 0 || all != 8 {
					t.Fatalf("%d of %d agents are to hold it, want 0 of 8", n, all)
				}
			}
		})
	}
}

// TestARefusalIsRemembered takes back what an agent refused, while that can't be written.
func TestARefusalIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.fault("slow", `{"from": ["tikv"], "duplicate": {"percent": 5}, "untilDeleted": true}`)
	w.agents.failed, w.agents.refuses = "this kernel can't duplicate", true
	w.refuseWrites = func(f client.Object) error {
		if lifeOf(f).Phase == v1alpha1.Refused {
			return errors.New("etcd is unwell")
		}
		return nil
	}
	for i := range 5 {
		_, err := w.Reconcile(t.Context(), ctrl.Request{NamespacedName: basic})
		if i > 0 && (err == nil || w.agents.count() != 0) {
			t.Fatalf("call %d: error %v, %d agents are to hold it; want an error and none", i, err, w.agents.count())
		}
	}
	w.events.take()
	w.refuseWrites = nil
	w.reconcile()
	s := w.status("slow")
	if s.Phase != v1alpha1.Refused || s.Reason != decide.ReasonAgentRefused || !strings.Contains(s.Message, "this kernel can't duplicate") {
		t.Errorf("status %+v, want the agent's refusal", s)
	}
	if got := w.events.take(); len(got) != 2 || !strings.HasPrefix(got[0], "slow Warning Refused AgentRefused: the agent of pod basic-") {
		t.Errorf("Events %q", got)
	}
}

// TestTheCacheMayBeOld reconciles with objects from before the Reconciler's own writes.
func TestTheCacheMayBeOld(t *testing.T) {
	w := newWorld(t)
	w.fault("slow", `{"from": ["pd(leader)"], "rtt": "50ms", "untilDeleted": true}`)
	old := &stale{Client: w.Client}
	w.options.Reader = old
	old.freeze(t)
	w.reconcile()
	change(w, basic.Name, &tcv1alpha1.TidbCluster{}, func(c *tcv1alpha1.TidbCluster) { c.Status.PD.Leader = c.Status.PD.Members["basic-pd-2"] })
	w.reconcile()
	s := w.status("slow")
	if s.Applied != "8/8" || len(s.Selected) == 0 || s.Selected[0].Pod != "basic-pd-1" {
		t.Errorf("status %+v, want it applied, and pinned to the first leader", s)
	}
	if w.writes != 2 {
		t.Errorf("%d writes, want 2", w.writes)
	}
	old.frozen = nil
	w.reconcile()
	if w.writes != 2 {
		t.Errorf("%d writes after the cache caught up, want 2", w.writes)
	}
}

// TestAConflictIsNoProblem changes a fault that the cache has not heard of yet.
func TestAConflictIsNoProblem(t *testing.T) {
	w := newWorld(t)
	w.fault("slow", `{"from": ["pd(leader)"], "rtt": "50ms", "untilDeleted": true}`)
	w.refuseWrites = func(f client.Object) error {
		return apierrors.NewConflict(schema.GroupResource{Resource: "networkfaults"}, f.GetName(), errors.New("changed"))
	}
	result, err := w.Reconcile(t.Context(), ctrl.Request{NamespacedName: basic})
	if err != nil || result.RequeueAfter != staleWait || w.agents.count() != 0 {
		t.Errorf("error %v, again after %s, %d agents; want none, %s and 0", err, result.RequeueAfter, w.agents.count(), staleWait)
	}
}

func TestPodsThatAreNoMembersLoseTheirFaults(t *testing.T) {
	w := newWorld(t)
	w.fault("slow", `{"from": ["tikv"], "rtt": "50ms", "untilDeleted": true}`)
	w.reconcile()
	w.options.Resolver = without{w.options.Resolver, "basic-tikv-1"}
	w.reconcile()
	if faults, ok := w.agents.held["basic-tikv-1-uid"]; !ok || len(faults) > 0 {
		t.Errorf("the stranger is to hold %v (asked: %t), want nothing", faults, ok)
	}
	if s := w.status("slow"); s.Applied != "7/7" {
		t.Errorf("applied %s, want 7/7", s.Applied)
	}
}

func TestAnUnreadPodKeepsWhatIs(t *testing.T) {
	w := newWorld(t)
	w.fault("slow", `{"from": ["tikv"], "rtt": "50ms", "untilDeleted": true}`)
	w.reconcile()
	unanswered, sets := errors.New("no answer"), w.agents.sets
	w.options.Resolver = failing{unanswered}
	if _, err := w.Reconcile(t.Context(), ctrl.Request{NamespacedName: basic}); !errors.Is(err, unanswered) || w.agents.sets != sets {
		t.Errorf("error %v, want %v and nothing done", err, unanswered)
	}
}

func TestPodsThatEndedOrHaveNoAgent(t *testing.T) {
	w := newWorld(t)
	change(w, "basic-tidb-1", &corev1.Pod{}, func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })
	change(w, "basic-tidb-0", &corev1.Pod{}, func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[:1] })
	w.reconcile()
	if n := len(w.agents.held); n != 6 {
		t.Errorf("%d agents are asked, want 6", n)
	}
	w.fault("slow", `{"from": ["tidb"], "rtt": "5ms", "untilDeleted": true}`)
	w.reconcile()
	if s := w.status("slow"); s.Phase != v1alpha1.Refused || s.Reason != decide.ReasonNoAgent {
		t.Errorf("status %+v, want it refused for the pod without an agent", s)
	}
}

// TestEachEventKeepsItsWords has faults run, change and end again and again. No two Events
// with other words may be made one.
func TestEachEventKeepsItsWords(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c"} {
		w.fault(name, `{"from": ["tikv"], "rtt": "50ms", "untilDeleted": true}`)
	}
	for i := range 4 {
		w.reconcile()
		w.agents.failed = fmt.Sprintf("cause %d", i)
		w.reconcile()
		w.agents.failed = ""
		w.now = w.now.Add(time.Second)
	}
	for _, name := range []string{"a", "b", "c"} {
		w.remove(&v1alpha1.NetworkFault{}, name)
	}
	w.reconcile()
	if all := w.events.take(); len(all) < 30 {
		t.Errorf("%d Events: %q", len(all), all)
	}
	for key, notes := range w.events.notes {
		if len(notes) > 1 {
			t.Errorf("one Event of %s for %q", key, notes)
		}
	}
}

func TestADeletionIsTold(t *testing.T) {
	w := newWorld(t)
	w.fault("slow", `{"from": ["tikv"], "rtt": "50ms", "untilDeleted": true}`)
	w.fault("odd", `{"from": ["tikv(7)"], "rtt": "50ms", "untilDeleted": true}`)
	w.reconcile()
	w.events.take()
	w.remove(&v1alpha1.NetworkFault{}, "slow")
	w.remove(&v1alpha1.NetworkFault{}, "odd")
	w.reconcile()
	w.reconcile()
	if got, want := w.events.take(), []string{"TidbCluster Normal FaultDeleted NetworkFault slow: deleted, and in force no more"}; !slices.Equal(got, want) {
		t.Errorf("Events %q, want %q", got, want)
	}
}
