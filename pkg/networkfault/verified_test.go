package networkfault

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/surveyor"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// measured is a Surveyor of pairs that somebody has measured.
type measured struct {
	tasks  []verify.Task
	states map[verify.Check]verify.State
}

func (m *measured) Set(_ types.NamespacedName, all []surveyor.Assignment) {
	m.tasks = nil
	for _, one := range all {
		m.tasks = append(m.tasks, one.Tasks...)
	}
}

func (m *measured) Verdicts(types.NamespacedName) []verify.Result {
	var all []verify.Result
	for _, t := range m.tasks {
		all = append(all, verify.Result{Task: t, State: m.states[t.Check]})
	}
	return all
}

// become gives all pairs a verdict, or those whose names are given.
func (m *measured) become(v verify.Verdict, j verify.Judgement, from ...string) {
	if m.states == nil {
		m.states = map[verify.Check]verify.State{}
	}
	for _, t := range m.tasks {
		if len(from) == 0 || slices.Contains(from, t.From) {
			m.states[t.Check] = verify.State{Verdict: v, Because: j}
		}
	}
}

var fifty = verify.Judgement{Outcome: verify.InTolerance, Before: 300 * time.Microsecond, Measured: 50200 * time.Microsecond}

func (w *world) wantVerified(name, verified string, status metav1.ConditionStatus, reason, words string) {
	w.t.Helper()
	s := w.status(name)
	c := meta.FindStatusCondition(s.Conditions, v1alpha1.Verified)
	if c == nil || s.Verified != verified || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, words) || c.ObservedGeneration != s.ObservedGeneration {
		w.t.Errorf("verified %q, condition %+v, want %q %s %s %q", s.Verified, c, verified, status, reason, words)
	}
}

func TestWhatWasMeasured(t *testing.T) {
	w := newWorld(t)
	w.fault("slow", `{"from": ["pd(leader)"], "rtt": "50ms", "untilDeleted": true}`)
	w.reconcile()
	w.wantVerified("slow", "", metav1.ConditionUnknown, verify.ReasonNotMeasured, "it is being measured")
	writes := w.writes
	w.pairs.become(verify.Right, fifty, "basic-pd-1")
	w.reconcile()
	w.wantVerified("slow", "", metav1.ConditionUnknown, verify.ReasonNotMeasured, "it is being measured")
	if w.writes != writes {
		t.Errorf("%d writes before all is measured", w.writes-writes)
	}
	w.pairs.become(verify.Right, fifty)
	w.reconcile()
	w.wantVerified("slow", "8/8", metav1.ConditionTrue, verify.ReasonInTolerance, "7 pairs measured, as asked for")
	if p := w.status("slow").Pairs; len(p) != 7 || p[0].Asked != "50ms" || p[0].Before != "0.3ms" || p[0].Measured != "50.2ms" {
		t.Errorf("pairs %+v", p)
	}

	writes = w.writes
	late := verify.Judgement{Outcome: verify.Late, Before: 300 * time.Microsecond, Measured: 90 * time.Millisecond}
	w.pairs.become(verify.Wrong, late, w.pairs.tasks[0].From)
	w.reconcile()
	if s := w.status("slow"); s.Verified == "8/8" || s.Pairs[0].Measured != "90ms" || s.Phase != v1alpha1.Running || s.Applied != "8/8" {
		t.Errorf("status %+v", s)
	}
	for range 60 {
		w.now = w.now.Add(time.Second + 123*time.Millisecond)
		w.reconcile()
	}
	if w.writes != writes+1 {
		t.Errorf("%d writes for one verdict", w.writes-writes)
	}
}

// What was measured is not said of what is asked for by then, nor of what is not in force.
func TestWhatWasMeasuredBefore(t *testing.T) {
	w := newWorld(t)
	w.fault("slow", `{"from": ["pd(leader)"], "rtt": "50ms", "untilDeleted": true}`)
	w.reconcile()
	w.pairs.become(verify.Right, fifty)
	w.reconcile()
	change(w, "slow", &v1alpha1.NetworkFault{}, func(f *v1alpha1.NetworkFault) { f.Spec.RTT, f.Generation = "80ms", 2 })
	w.reconcile()
	w.wantVerified("slow", "", metav1.ConditionUnknown, verify.ReasonNotMeasured, "it is being measured")
	w.pairs.become(verify.Right, fifty)
	w.reconcile()
	w.wantVerified("slow", "8/8", metav1.ConditionTrue, verify.ReasonInTolerance, "")
	change(w, "slow", &v1alpha1.NetworkFault{}, func(f *v1alpha1.NetworkFault) { f.Spec.Paused, f.Generation = true, 3 })
	w.reconcile()
	if s := w.status("slow"); s.Verified != "" || len(s.Pairs) > 0 || meta.FindStatusCondition(s.Conditions, v1alpha1.Verified) != nil {
		t.Errorf("status of a paused fault %+v", s)
	}
	if len(w.pairs.tasks) > 0 {
		t.Errorf("%d pairs are measured of a paused fault", len(w.pairs.tasks))
	}
}

// A pair that was wrong and is no more is not told as wrong while others are measured.
func TestAWrongPairThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.fault("slow", `{"from": ["pd(leader)"], "rtt": "50ms", "untilDeleted": true}`)
	w.reconcile()
	w.pairs.become(verify.Wrong, verify.Judgement{Outcome: verify.Late, Before: time.Millisecond, Measured: 90 * time.Millisecond})
	w.reconcile()
	w.wantVerified("slow", "0/8", metav1.ConditionFalse, verify.ReasonOutOfTolerance, "50ms asked for")
	w.pairs.states = nil
	w.reconcile()
	w.wantVerified("slow", "", metav1.ConditionUnknown, verify.ReasonNotMeasured, "it is being measured")
	if p := w.status("slow").Pairs; len(p) > 0 {
		t.Errorf("pairs %+v", p)
	}
	w.pairs.become(verify.Right, fifty)
	w.reconcile()
	w.wantVerified("slow", "8/8", metav1.ConditionTrue, verify.ReasonInTolerance, "")
	w.pairs.states = nil
	w.reconcile()
	w.wantVerified("slow", "8/8", metav1.ConditionTrue, verify.ReasonInTolerance, "")
}

// A new leader has measured nothing yet. What the one before found stays until there is a verdict
// on all, and is told in no other Event if it is the same.
func TestVerdictsOutliveALeader(t *testing.T) {
	late := verify.Judgement{Outcome: verify.Late, Before: 300 * time.Microsecond, Measured: 90 * time.Millisecond}
	w := newWorld(t)
	w.fault("slow", `{"from": ["pd(leader)"], "rtt": "50ms", "untilDeleted": true}`)
	w.reconcile()
	w.pairs.become(verify.Right, fifty)
	w.pairs.become(verify.Wrong, late, w.pairs.tasks[0].From)
	w.reconcile()
	before := w.status("slow")
	w.events.take()
	for i, again := range []verify.Verdict{verify.Wrong, verify.Right} {
		w.Reconciler = w.newReconciler(w.agents)
		w.pairs.states = nil
		w.reconcile()
		w.pairs.become(verify.Right, fifty, w.pairs.tasks[len(w.pairs.tasks)-1].From)
		w.reconcile()
		if diff := cmp.Diff(before, w.status("slow")); diff != "" {
			t.Errorf("leader %d says something else before all is measured (-before +after):\n%s", i, diff)
		}
		w.pairs.become(verify.Right, fifty)
		late.Measured += time.Millisecond
		if again == verify.Wrong {
			w.pairs.become(verify.Wrong, late, w.pairs.tasks[0].From)
		}
		w.reconcile()
		if before = w.status("slow"); again == verify.Wrong && before.Pairs[0].Measured != "91ms" {
			t.Errorf("pairs %+v, want what the new leader has measured", before.Pairs)
		}
		if all := w.events.take(); len(all) > 0 {
			t.Errorf("leader %d: Events %q", i, all)
		}
	}
	w.wantVerified("slow", "8/8", metav1.ConditionTrue, verify.ReasonInTolerance, "")
	w.pairs.become(verify.Wrong, late, w.pairs.tasks[0].From)
	w.reconcile()
	if all := w.events.take(); len(all) != 2 || !strings.Contains(all[0], verify.ReasonOutOfTolerance) {
		t.Errorf("Events %q of what is wrong anew", all)
	}
}

// An agent that has not said what it holds is not taken for one that holds nothing.
func TestWhatIsKnownOfAnAgent(t *testing.T) {
	one := []compile.Fault{{Fault: fault.Fault{Name: "one"}}}
	for name, test := range map[string]struct {
		state  decide.AgentState
		faults []compile.Fault
		want   verify.Agent
	}{
		"never heard of":               {want: verify.AskedNow},
		"never heard of, and it fails": {state: decide.AgentState{Failed: "no token"}, want: verify.Lost},
		"holds nothing":                {state: decide.AgentState{Known: true}, want: verify.Holds},
		"holds it":                     {state: decide.AgentState{Known: true, Holds: one}, faults: one, want: verify.Holds},
		"holds it no more":             {state: decide.AgentState{Known: true}, faults: one, want: verify.AskedNow},
		"holds it still":               {state: decide.AgentState{Known: true, Holds: one}, want: verify.AskedNow},
		"refuses it":                   {state: decide.AgentState{Known: true, Failed: "no", Refused: one}, faults: one, want: verify.Lost},
		"can't store it since now":     {state: decide.AgentState{}, faults: one, want: verify.AskedNow},
		"can't store it":               {state: decide.AgentState{Failed: "no space left on device"}, faults: one, want: verify.Lost},
		"holds it, and others":         {state: decide.AgentState{Failed: "other faults", Holds: one}, faults: one, want: verify.Lost},
		"silent":                       {state: decide.AgentState{Failed: "timeout", Silent: true}, want: verify.Lost},
		"down":                         {state: decide.AgentState{Failed: "down", Down: true}, want: verify.Lost},
	} {
		if got := agentOf(test.state, test.faults); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

// What neither a handshake nor a counter shows is said to be so.
func TestWhatCannotBeMeasured(t *testing.T) {
	w := newWorld(t)
	w.fault("lossy", `{"from": ["tikv"], "loss": {"gilbertElliott": {"toBad": 1, "toGood": 20, "lossInBad": 80}}, "untilDeleted": true}`)
	w.reconcile()
	w.wantVerified("lossy", "", metav1.ConditionUnknown, verify.ReasonNotMeasured, "a loss in bursts")
}

// What agents count of two faults together is said of both.
func TestWhatWasCounted(t *testing.T) {
	w := newWorld(t)
	w.fault("one", `{"from": ["tikv(0)"], "to": ["pd(0)"], "loss": {"percent": 1}, "untilDeleted": true}`)
	w.fault("two", `{"from": ["tikv(0)"], "to": ["pd(0)"], "loss": {"percent": 2}, "untilDeleted": true}`)
	w.reconcile()
	w.wantVerified("one", "", metav1.ConditionUnknown, verify.ReasonNotMeasured, "it is being measured")
	w.pairs.become(verify.Right, verify.Judgement{Outcome: verify.InTolerance})
	w.pairs.become(verify.Wrong, verify.Judgement{Outcome: verify.LostMore, Why: "lost 9 % of 12000 packets, 2.98 % is asked for", Off: 2}, "basic-tikv-0")
	w.reconcile()
	for _, name := range []string{"one", "two"} {
		w.wantVerified(name, "1/2", metav1.ConditionFalse, verify.ReasonOutOfTolerance, "basic-tikv-0 lost 9 % of 12000 packets, 2.98 % is asked for")
		if s := w.status(name); len(s.Pairs) > 0 {
			t.Errorf("pairs %+v", s.Pairs)
		}
	}
}

// A topology is measured between its own zones, and a fault on top of it is measured with it.
func TestATopologyIsMeasured(t *testing.T) {
	w := newWorld(t)
	ground := &v1alpha1.NetworkTopology{ObjectMeta: metav1.ObjectMeta{Namespace: basic.Namespace, Name: "ground", UID: "ground", Generation: 1, CreationTimestamp: metav1.Time{Time: w.now}}}
	if err := json.Unmarshal([]byte(`{"cluster": "basic", "spread": 3, "defaults": {"otherZone": "20ms"}, "startAfter": "Created", "untilDeleted": true}`), &ground.Spec); err != nil {
		t.Fatal(err)
	}
	if err := w.Create(t.Context(), ground); err != nil {
		t.Fatal(err)
	}
	w.fault("slow", `{"from": ["pd(0)"], "to": ["tikv(1)"], "rtt": "50ms", "untilDeleted": true}`)
	w.reconcile()
	together, zones := false, map[string]bool{}
	for _, task := range w.pairs.tasks {
		together = together || len(task.Objects) == 2 && task.Asked.RTT == 70*time.Millisecond
		from, to := task.From[len(task.From)-1:], task.To[len(task.To)-1:]
		zones[min(from, to)+max(from, to)] = true
	}
	if !together || len(zones) != 3 {
		t.Errorf("measured are zones %v; a pair with both is among them: %t", zones, together)
	}
	w.pairs.become(verify.Right, fifty)
	w.reconcile()
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(ground), ground); err != nil {
		t.Fatal(err)
	}
	if c := meta.FindStatusCondition(ground.Status.Conditions, v1alpha1.Verified); ground.Status.Verified != "8/8" || c == nil || c.Status != metav1.ConditionTrue || len(ground.Status.Pairs) != verify.MaxPairs {
		t.Errorf("status %+v", ground.Status)
	}
	w.wantVerified("slow", "2/2", metav1.ConditionTrue, verify.ReasonInTolerance, "")
}

// A partition of all that a topology is between shows nothing of the topology, whatever is
// found of the partition.
func TestAPartitionOnATopology(t *testing.T) {
	w := newWorld(t)
	w.topology("ground", `{"spread": 2, "defaults": {"otherZone": "20ms"}, "startAfter": "Created", "untilDeleted": true}`)
	w.fault("cut", `{"from": ["pd(0)", "pd(2)", "tikv(0)", "tikv(2)", "tidb(0)"], "to": ["pd(1)", "tikv(1)", "tidb(1)"], "partition": true, "allow": ["QuorumLoss", "Failover"], "untilDeleted": true}`)
	for verdict, judgement := range map[verify.Verdict]verify.Judgement{
		verify.Right: {Outcome: verify.InTolerance, Before: time.Millisecond},
		verify.Wrong: {Outcome: verify.NotCut, Before: time.Millisecond, Measured: 21 * time.Millisecond},
	} {
		w.reconcile()
		w.pairs.become(verdict, judgement)
		w.reconcile()
		if verdict == verify.Right {
			w.wantVerified("cut", "8/8", metav1.ConditionTrue, verify.ReasonInTolerance, "pairs measured, as asked for")
		} else {
			w.wantVerified("cut", "0/8", metav1.ConditionFalse, verify.ReasonOutOfTolerance, "an answer in 21ms, a partition asked for")
		}
		s := w.topologyStatus("ground")
		if c := meta.FindStatusCondition(s.Conditions, v1alpha1.Verified); s.Applied != "8/8" || s.Verified != "" || len(s.Pairs) > 0 || c == nil || c.Reason != verify.ReasonNotMeasured || c.Message != "nothing gets through NetworkFault cut" {
			t.Errorf("status %+v", s)
		}
	}
}

// The zones of what is measured are those that were decided, also of pods that no status
// names; and else those of the nodes.
func TestZonesOfWhatIsMeasured(t *testing.T) {
	var seen observation
	for _, name := range []string{"zoned", "other"} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
		seen.pods = append(seen.pods, member{pod, tidbcluster.TiKV, map[string]string{corev1.LabelTopologyZone: "east"}})
	}
	pods := seen.podsToVerify(decide.Decision{Zones: map[string]string{"zoned": "a"}}, nil)
	if len(pods) != 2 || pods[0].Zone != "a" || pods[1].Zone != "east" {
		t.Errorf("pods %+v, want zones a and east", pods)
	}
}
