//go:build apiserver

package apiserver

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// What people see of their topologies.
func TestTopologyColumns(t *testing.T) {
	n := newNamespace(t)
	n.make(n.topology("fresh", ""))
	n.make(n.topology("running", ""))
	admin, topology := clientAs(t, ""), &v1alpha1.NetworkTopology{}
	must(t, admin.Get(t.Context(), client.ObjectKey{Namespace: n.name, Name: "running"}, topology))
	ends := metav1.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	topology.Status.Zoned = "8/9"
	topology.Status.Life = v1alpha1.Life{
		Phase: v1alpha1.Running, Reason: "Applied", Message: "in force", What: "three-az", Applied: "7/8", Verified: "6/8", ExpiresAt: &ends,
	}
	must(t, admin.Status().Update(t.Context(), topology))
	n.shows([]columns{
		{[]string{"get", "nt"}, [][]string{
			{"NAME", "CLUSTER", "WHAT", "ZONED", "PHASE", "APPLIED", "VERIFIED", "ENDS", "AGE"},
			{"fresh", "basic", "0s"},
			{"running", "basic", "three-az", "8/9", "Running", "7/8", "6/8", "2030-01-02T03:04:05Z", "0s"},
		}},
		{[]string{"get", "networktopology", "running", "-o", "wide"}, [][]string{
			{"NAME", "CLUSTER", "WHAT", "ZONED", "PHASE", "APPLIED", "VERIFIED", "ENDS", "REASON", "MESSAGE", "AGE"},
			{"running", "basic", "three-az", "8/9", "Running", "7/8", "6/8", "2030-01-02T03:04:05Z", "Applied", "in force", "0s"},
		}},
		{[]string{"get", "tidelay", "-o", "name"}, [][]string{{"networktopology.tidelay.io/fresh"}, {"networktopology.tidelay.io/running"}}},
	})
}

// Everything but the TidbCluster can be changed, how pods get their zones too, and no
// change gets past the rules.
func TestTopologiesChangeInPlace(t *testing.T) {
	n := newNamespace(t)
	made := map[string]*unstructured.Unstructured{} // by what they were made of
	for name, fields := range map[string]string{"plain": "", "listed": aAndB, "linked": linked("rtt: 1ms"), "until-deleted": "duration: null, untilDeleted: true"} {
		made[name] = n.topology(name, fields)
		n.make(made[name])
	}
	for _, c := range []struct {
		of, change string
		want       []string
	}{
		{"plain", "cluster: other", []string{"spec: cluster can't be changed: create another topology"}},
		{"plain", "zoneKey: rack", []string{zonedOnceWords}},
		{"plain", "profile: null", []string{nothingWords}},
		{"plain", "defaults: {otherZone: 2ms}", []string{profileWords}},
		{"plain", "duration: null", []string{lastsWords}},
		{"until-deleted", "duration: 1m", []string{lastsWords}},
		{"listed", "spread: 2", []string{zonedOnceWords}},
		{"linked", "links: [{between: [a, b], rtt: 0ms, jitter: 1ms}]", []string{unjitterWords}},

		{"plain", "spread: 4, profile: two-region, startAfter: Created, duration: 3h, paused: true, allow: [Upgrade]", nil},
		{"plain", "spread: null", nil},
		{"plain", "spread: null, zoneKey: rack", nil},
		{"plain", "spread: null, zones: [{name: a, members: [pd]}, {name: b, members: [tikv]}]", nil},
		{"plain", "profile: null, links: [{between: [a, b], rtt: 1ms}], defaults: {sameZone: 0ms}", nil},
		{"plain", "duration: null, untilDeleted: true", nil},
		{"until-deleted", "duration: 1m, untilDeleted: null", nil},
		{"listed", "zones: [{name: a, members: [pd, 'tikv(0)']}, {name: b, members: ['tikv(1)']}]", nil},
		{"linked", "links: [{between: [a, b], rtt: 50ms}, {between: [b, a], rtt: 60ms}]", nil},
		{"linked", "links: null, defaults: {otherZone: 1ms}", nil},
		{"linked", "links: null, profile: 2-2-1", nil},
	} {
		t.Run(c.of+": "+c.change, func(t *testing.T) {
			got := refusals(t, patchSpec(t, made[c.of].DeepCopy(), c.change, client.DryRunAll, strictly))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("refused in other words (-want +got):\n%s", diff)
			}
		})
	}
}

// A topology that has ended doesn't begin again by a change. It can still be labelled, and
// its status written; also the largest, which the API server compares as a whole then.
func TestEndedTopologiesStayEnded(t *testing.T) {
	for name, fields := range map[string]string{"small": "", "largest": largestTopology} {
		t.Run(name, func(t *testing.T) {
			n := newNamespace(t)
			u := n.topology("ended", fields)
			n.make(u)
			typed, admin := &v1alpha1.NetworkTopology{}, clientAs(t, "")
			setPhase := func(phase v1alpha1.Phase) {
				t.Helper()
				must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(u), typed))
				typed.Status.Phase = phase
				must(t, admin.Status().Update(t.Context(), typed))
			}
			setPhase(v1alpha1.Running)
			must(t, patchSpec(t, u, "duration: 1h"))
			setPhase(v1alpha1.Ended)
			want := []string{"spec: this topology has ended and can't be changed: delete it and create it again"}
			for _, change := range []string{"duration: 2h", "startAfter: Created", "paused: true"} {
				if diff := cmp.Diff(want, refusals(t, patchSpec(t, u, change))); diff != "" {
					t.Errorf("%s: refused in other words (-want +got):\n%s", change, diff)
				}
			}
			must(t, patchSpec(t, u, "duration: 1h")) // as it is
			must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(u), typed))
			typed.Labels = map[string]string{"a": "b"}
			must(t, admin.Update(t.Context(), typed))
			typed.Status.Message = "its time was over"
			must(t, admin.Status().Update(t.Context(), typed))
		})
	}
}

// What is written is read as it was written: no time is made another one, and defaults
// are filled in.
func TestTopologiesReadBackAsWritten(t *testing.T) {
	const (
		filledIn = "startAfter: Ready, paused: false, untilDeleted: false"
		links    = `profile: null, duration: 90m, defaults: {sameZone: 0ms, otherZone: 2.50ms}, links: [
			{between: [a, b], rtt: 1500us, jitter: 0.50ms, loss: {percent: 0.01}, rate: {perSecond: 1gbit}},
			{between: [b, a], rtt: 0ms}, {between: [a, a], rtt: 0.0s}]`
	)
	n := newNamespace(t)
	for name, fields := range map[string]string{"profile": "", "links": links, "listed": aAndB, "by-label": "spread: null, zoneKey: example.com/rack, allow: [LongDelay]"} {
		n.make(n.topology(name, fields))
		want := putOver(t, threeZones, fields)
		maps.Copy(want, parseFields(t, filledIn))
		stored := n.topology(name, "")
		must(t, world.client.Get(t.Context(), client.ObjectKeyFromObject(stored), stored))
		if diff := cmp.Diff(asJSON(t, want), asJSON(t, stored.Object["spec"])); diff != "" {
			t.Errorf("%s: the spec reads otherwise (-written +read):\n%s", name, diff)
		}

		// By the Go types too, which leave nothing out and add nothing when they write.
		admin, typed := clientAs(t, ""), &v1alpha1.NetworkTopology{}
		must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(stored), typed))
		typed.ObjectMeta = metav1.ObjectMeta{Namespace: n.name, Name: name + "-typed"}
		must(t, admin.Create(t.Context(), typed, strictly))
		must(t, world.client.Get(t.Context(), client.ObjectKeyFromObject(typed), stored))
		if diff := cmp.Diff(asJSON(t, want), asJSON(t, stored.Object["spec"])); diff != "" {
			t.Errorf("%s: the Go types write another spec (-written +read):\n%s", name, diff)
		}
	}
}

// A user's request never sets a status, and the controller's sets nothing else.
func TestTopologyStatusIsApart(t *testing.T) {
	n := newNamespace(t)
	admin, controller := clientAs(t, ""), clientAs(t, userPrefix+controllerName)
	u := n.topology("apart", "")
	u.Object["status"] = map[string]any{"phase": "Ended"}
	n.make(u)
	stored := &v1alpha1.NetworkTopology{}
	must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(u), stored))
	if stored.Status.Phase != "" || stored.Generation != 1 {
		t.Errorf("created with phase %q and generation %d, want none and 1", stored.Status.Phase, stored.Generation)
	}
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	stored.Spec.Spread = 4
	stored.Status = v1alpha1.NetworkTopologyStatus{
		Life: v1alpha1.Life{
			Phase: v1alpha1.Running, Reason: "Applied", Message: "in force on 2 pods", What: "three-az", Applied: "2/2", Verified: "1/2",
			Pairs:     []v1alpha1.Pair{{From: "basic-tikv-0", To: "basic-tikv-1", Verdict: "Wrong", Asked: "1ms", Before: "0.3ms", Measured: "7ms"}},
			StartedAt: &now, ExpiresAt: &now, ClusterUID: otherUID, ObservedGeneration: 1,
			Conditions: []metav1.Condition{{Type: v1alpha1.Verified, Status: metav1.ConditionFalse, Reason: "OutOfTolerance", LastTransitionTime: now}},
		},
		Zoned:   "2/3",
		Zones:   []v1alpha1.ZonePods{{Name: "a", Pods: []string{"basic-tikv-0"}}, {Name: "b", Pods: []string{"basic-tikv-1"}}, {Name: "c"}},
		Unzoned: []string{"basic-discovery-5d9c7b8f6d-abcde"},
	}
	want := stored.Status
	must(t, controller.Status().Update(t.Context(), stored))
	must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(u), stored))
	if diff := cmp.Diff(want, stored.Status); diff != "" {
		t.Errorf("the status reads otherwise (-written +read):\n%s", diff)
	}
	if stored.Spec.Spread != 3 || stored.Generation != 1 {
		t.Errorf("a status was written, and the spec has spread %d and generation %d; want 3 and 1", stored.Spec.Spread, stored.Generation)
	}
}
