//go:build apiserver

package apiserver

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// clientAs returns a client with the types of NetworkFault for a user, or for the
// cluster-admin if there is no name.
func clientAs(t *testing.T, user string) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	must(t, v1alpha1.AddToScheme(scheme))
	must(t, corev1.AddToScheme(scheme))
	config := rest.CopyConfig(world.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	c, err := client.New(config, client.Options{Scheme: scheme})
	must(t, err)
	return c
}

// patchSpec puts fields over those that are stored; null takes a field out.
func patchSpec(t *testing.T, u *unstructured.Unstructured, fields string, options ...client.PatchOption) error {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"spec": parseFields(t, fields)})
	must(t, err)
	return world.client.Patch(t.Context(), u, client.RawPatch(types.MergePatchType, patch), options...)
}

// What a fault is about can't be changed, neither by another value nor by adding or
// removing one, and all else can.
func TestFaultsChangeInPlace(t *testing.T) {
	const (
		cluster = "spec: cluster can't be changed: create another fault"
		from    = "spec: from can't be changed: create another fault"
		to      = "spec: to can't be changed: create another fault"
		seed    = "spec: seed can't be changed: create another fault"
	)
	n := newNamespace(t)
	made := map[string]*unstructured.Unstructured{ // by what they were made of
		"":                                    n.fault("plain", ""),
		"to: [pd], seed: 7, ports: [80]":      n.fault("full", "to: [pd], seed: 7, ports: [80]"),
		"duration: null, untilDeleted: true":  n.fault("until-deleted", "duration: null, untilDeleted: true"),
		"rtt: null, delay: 1ms, oneWay: true": n.fault("one-way", "rtt: null, delay: 1ms, oneWay: true"),
	}
	for _, u := range made {
		n.make(u)
	}
	for _, c := range []struct {
		of, change string
		want       []string
	}{
		{"", "cluster: other", []string{cluster}},
		{"", "from: [tikv, pd]", []string{from}},
		{"", "from: ['tikv ']", []string{from}},
		{"", "to: [pd]", []string{to}},
		{"", "seed: 1", []string{seed}},
		{"to: [pd], seed: 7, ports: [80]", "to: null", []string{to}},
		{"to: [pd], seed: 7, ports: [80]", "to: [tidb]", []string{to}},
		{"to: [pd], seed: 7, ports: [80]", "seed: null", []string{seed}},
		{"to: [pd], seed: 7, ports: [80]", "to: null, seed: 0, cluster: other, from: [pd]", []string{cluster, from, to, seed}},
		{"", "duration: null", []string{lifeWords}},
		{"duration: null, untilDeleted: true", "duration: 1m", []string{lifeWords}},
		{"rtt: null, delay: 1ms, oneWay: true", "delay: null, rtt: 1ms", []string{"spec: with oneWay there is no round trip: want delay instead of rtt"}},

		{"", "to: [others], seed: 0", nil}, // what it has by default
		{"", "rtt: 80ms, jitter: 5ms, loss: {percent: 1}, protocol: tcp, ports: [2379], paused: true, allow: [Upgrade]", nil},
		{"", "rtt: null, delay: 1ms, oneWay: true", nil},
		{"", "rtt: null, partition: true", nil},
		{"", "duration: 2h", nil},
		{"", "duration: null, untilDeleted: true", nil},
		{"to: [pd], seed: 7, ports: [80]", "ports: null", nil},
		{"duration: null, untilDeleted: true", "duration: 1m, untilDeleted: false", nil},
		{"duration: null, untilDeleted: true", "duration: 1m, untilDeleted: null", nil},
		{"rtt: null, delay: 1ms, oneWay: true", "delay: null, partition: true", nil},
	} {
		t.Run("["+c.of+"] "+c.change, func(t *testing.T) {
			got := refusals(t, patchSpec(t, made[c.of].DeepCopy(), c.change, client.DryRunAll, strictly))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("refused in other words (-want +got):\n%s", diff)
			}
		})
	}
}

// A fault that has ended doesn't begin again by a change. It can still be labelled, and
// its status written.
func TestEndedFaultsStayEnded(t *testing.T) {
	n := newNamespace(t)
	u := n.fault("ended", "")
	n.make(u)
	typed, admin := &v1alpha1.NetworkFault{}, clientAs(t, "")
	setPhase := func(phase v1alpha1.Phase) {
		t.Helper()
		must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(u), typed))
		typed.Status.Phase = phase
		must(t, admin.Status().Update(t.Context(), typed))
	}
	setPhase(v1alpha1.Running)
	must(t, patchSpec(t, u, "rtt: 80ms"))
	setPhase(v1alpha1.Ended)
	want := []string{"spec: this fault has ended and can't be changed: delete it and create it again"}
	for _, change := range []string{"rtt: 90ms", "duration: 1h", "paused: true"} {
		if diff := cmp.Diff(want, refusals(t, patchSpec(t, u, change))); diff != "" {
			t.Errorf("%s: refused in other words (-want +got):\n%s", change, diff)
		}
	}
	must(t, patchSpec(t, u, "rtt: 80ms")) // as it is
	must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(u), typed))
	typed.Labels = map[string]string{"a": "b"}
	must(t, admin.Update(t.Context(), typed))
	typed.Status.Message = "its time was over"
	must(t, admin.Status().Update(t.Context(), typed))
}

// What is written is read as it was written: no duration is made another one, and
// defaults are filled in.
func TestFaultsReadBackAsWritten(t *testing.T) {
	n := newNamespace(t)
	u := n.fault("written", `rtt: 1500us, jitter: 0.50ms, duration: 90m, loss: {percent: 0.1}, ports: [2379, "20160-20180"]`)
	n.make(u)
	want := spec(t, `rtt: 1500us, jitter: 0.50ms, duration: 90m, loss: {percent: 0.1}, ports: [2379, "20160-20180"],
		to: [others], oneWay: false, partition: false, paused: false, untilDeleted: false, seed: 0`)
	stored := n.fault("written", "")
	must(t, world.client.Get(t.Context(), client.ObjectKeyFromObject(stored), stored))
	if diff := cmp.Diff(asJSON(t, want), asJSON(t, stored.Object["spec"])); diff != "" {
		t.Errorf("the spec reads otherwise (-written +read):\n%s", diff)
	}

	// By the Go types too, which leave nothing out and add nothing when they write.
	admin, typed := clientAs(t, ""), &v1alpha1.NetworkFault{}
	must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(stored), typed))
	typed.ObjectMeta = metav1.ObjectMeta{Namespace: n.name, Name: "typed"}
	must(t, admin.Create(t.Context(), typed, strictly))
	must(t, world.client.Get(t.Context(), client.ObjectKeyFromObject(typed), stored))
	if diff := cmp.Diff(asJSON(t, want), asJSON(t, stored.Object["spec"])); diff != "" {
		t.Errorf("the Go types write another spec (-written +read):\n%s", diff)
	}
}

// asJSON makes two values comparable that have their numbers in different types.
func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.MarshalIndent(value, "", " ")
	must(t, err)
	return string(text)
}

// A user's request never sets a status, and the controller's sets nothing else.
func TestFaultStatusIsApart(t *testing.T) {
	n := newNamespace(t)
	admin := clientAs(t, "")
	u := n.fault("apart", "")
	u.Object["status"] = map[string]any{"phase": "Ended"}
	n.make(u)
	stored := &v1alpha1.NetworkFault{}
	must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(u), stored))
	if stored.Status.Phase != "" || stored.Generation != 1 {
		t.Errorf("created with phase %q and generation %d, want none and 1", stored.Status.Phase, stored.Generation)
	}
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	stored.Spec.RTT = "1s"
	stored.Status.Selected = []v1alpha1.SelectedPod{{Selector: "tikv", Pod: "basic-tikv-0", Zone: "a"}}
	stored.Status.Life = v1alpha1.Life{
		Phase: v1alpha1.Running, Reason: "Applied", Message: "in force on 4 pods", What: "+50ms RTT", Applied: "4/4",
		StartedAt: &now, ExpiresAt: &now, ObservedGeneration: 1,
		Conditions: []metav1.Condition{{Type: v1alpha1.Applied, Status: metav1.ConditionTrue, Reason: "Applied", LastTransitionTime: now}},
	}
	want := stored.Status
	must(t, admin.Status().Update(t.Context(), stored))
	must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(u), stored))
	if diff := cmp.Diff(want, stored.Status); diff != "" {
		t.Errorf("the status reads otherwise (-written +read):\n%s", diff)
	}
	if stored.Spec.RTT != "50ms" || stored.Generation != 1 {
		t.Errorf("a status was written, and the spec has rtt %s and generation %d; want 50ms and 1", stored.Spec.RTT, stored.Generation)
	}
}
