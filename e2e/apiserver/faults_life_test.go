//go:build apiserver

package apiserver

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/e2e/madeup"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// A fault is in force at all agents, with a lease, and the status and Events say so. When
// it is deleted all of them let go of it.
func (f *fleet) inForceEverywhere(t *testing.T) {
	d := f.database(t, nil)
	u := d.create("slow", "")
	got := d.becomes("slow", "Running Applied 8/8").Status
	d.wantEffects(d.between("tikv", "pd", "25ms").and(d.between("tikv", "tidb", "25ms")))
	d.wantLeases()
	if got.What != "+50ms RTT" || got.StartedAt == nil || got.ExpiresAt == nil || got.ExpiresAt.Sub(got.StartedAt.Time) != 10*time.Minute || len(got.Selected) != 8 {
		t.Errorf("status %+v", got)
	}
	d.wantEvents("NetworkFault", "slow", "Normal Started", "Normal Applied")
	d.wantEvents("TidbCluster", "basic", "Normal FaultStarted", "Normal FaultApplied")
	d.remove(u)
	d.wantEffects(effects{})
	d.wantEvents("TidbCluster", "basic", "Normal FaultDeleted")
}

// Two faults of the same packets add up, and either can go.
func (f *fleet) twoAdd(t *testing.T) {
	d := f.database(t, nil)
	first := d.create("first", "to: [pd]")
	d.create("second", "from: [pd(0)], to: [tikv, tidb], rtt: 30ms")
	d.becomes("first", "Running Applied 6/6")
	d.becomes("second", "Running Applied 6/6")
	alone := d.between("tikv", "pd", "25ms")
	second := d.between("pd-0", "tikv", "15ms").and(d.between("pd-0", "tidb", "15ms"))
	d.wantEffects(alone.and(second, d.between("pd-0", "tikv", "40ms")))
	d.remove(first)
	d.wantEffects(second)
	d.create("first", "to: [pd]")
	d.becomes("first", "Running Applied 6/6")
	d.remove(d.fault("second", ""))
	d.wantEffects(alone)
}

// A change of a fault that runs is made in place: no agent lets go of it in between.
func (f *fleet) changeInPlace(t *testing.T) {
	d := f.database(t, nil)
	u := d.create("slow", "to: [pd]")
	before := d.becomes("slow", "Running Applied 6/6").Status
	empties := d.empties()
	must(t, patchSpec(t, u, "rtt: 80ms, duration: 20m"))
	after := d.becomes("slow", "Running Applied 6/6").Status
	d.wantEffects(d.between("tikv", "pd", "40ms"))
	if !after.StartedAt.Equal(before.StartedAt) || after.ExpiresAt.Sub(after.StartedAt.Time) != 20*time.Minute || after.What != "+80ms RTT" {
		t.Errorf("status %+v", after)
	}
	if diff := cmp.Diff(empties, d.empties()); diff != "" {
		t.Errorf("agents were told to hold nothing (-before +after):\n%s", diff)
	}
}

// A fault that is paused is not in force, and is again when it is not paused any more.
func (f *fleet) pause(t *testing.T) {
	d := f.database(t, nil)
	u := d.create("slow", "to: [pd]")
	before := d.becomes("slow", "Running Applied 6/6").Status
	must(t, patchSpec(t, u, "paused: true"))
	d.becomes("slow", "Paused Paused") //nolint:dupword // phase and reason
	d.wantEffects(effects{})
	must(t, patchSpec(t, u, "paused: false"))
	if after := d.becomes("slow", "Running Applied 6/6").Status; !after.ExpiresAt.Equal(before.ExpiresAt) {
		t.Errorf("its time went from %s to %s", before.ExpiresAt, after.ExpiresAt)
	}
	d.wantEffects(d.between("tikv", "pd", "25ms"))
}

// A fault ends when its time is over, everywhere and not before.
func (f *fleet) expiry(t *testing.T) {
	d := f.database(t, nil)
	d.create("short", "to: [pd], duration: 30s")
	d.create("long", "from: [tidb], to: [pd]")
	both := d.between("tikv", "pd", "25ms").and(d.between("tidb", "pd", "25ms"))
	d.wantEffects(both)
	ends := d.read("short").Status.ExpiresAt
	d.becomes("short", "Ended Expired")
	d.wantEffects(d.between("tidb", "pd", "25ms"))
	if ends == nil || time.Now().Before(ends.Time) {
		t.Errorf("it ended before %s", ends)
	}
	d.wantEvents("NetworkFault", "short", "Normal Ended")
	d.becomes("long", "Running Applied 5/5")
}

// Another leader moves no fault that runs. The next fault takes the new one.
func (f *fleet) leader(t *testing.T) {
	d := f.database(t, nil)
	d.create("before", "from: [pd(leader)], to: [tikv], rtt: 20ms")
	d.becomes("before", "Running Applied 4/4")
	d.wantEffects(d.between("pd-0", "tikv", "10ms"))
	d.change(func(tc *tcv1alpha1.TidbCluster) { tc.Status.PD.Leader = tc.Status.PD.Members["basic-pd-1"] })
	d.createLater("after", "from: [pd(leader)], to: [tidb], rtt: 60ms", func(f *v1alpha1.NetworkFault) bool {
		return slices.ContainsFunc(f.Status.Selected, func(s v1alpha1.SelectedPod) bool { return s.Pod == "basic-pd-0" })
	})
	d.becomes("after", "Running Applied 3/3")
	d.becomes("before", "Running Applied 4/4")
	d.wantEffects(d.between("pd-0", "tikv", "10ms").and(d.between("pd-1", "tidb", "30ms")))
}

// While TiDB Operator can't ask PD nobody knows who leads, and a fault waits for that.
func (f *fleet) roleUnknown(t *testing.T) {
	d := f.database(t, nil)
	d.change(func(tc *tcv1alpha1.TidbCluster) { tc.Status.PD.Synced = false })
	d.createLater("slow", "from: [pd(leader)], to: [tikv]", func(f *v1alpha1.NetworkFault) bool { return len(f.Status.Selected) > 0 })
	d.becomes("slow", "Pending RoleUnknown")
	d.wantEffects(effects{})
	d.wantEvents("NetworkFault", "slow", "Normal Pending")
	d.change(func(tc *tcv1alpha1.TidbCluster) { tc.Status.PD.Synced = true })
	d.becomes("slow", "Running Applied 4/4")
	d.wantEffects(d.between("pd-0", "tikv", "25ms"))
}

// A fault that is created before a pod is ready starts when the pod is. If that takes too
// long it is refused, and stays so.
func (f *fleet) earlyStart(t *testing.T) {
	d := f.database(t, nil)
	d.replace("basic-tikv-1", false)
	d.waitAsked() // so the controller knows the new pod
	d.create("first", "to: [pd]")
	since := d.becomes("first", "Pending UnhealthyStart", "2 of 3 pods of tikv are ready", "It is looked at again").CreationTimestamp
	d.wantEvents("NetworkFault", "first", "Normal Pending")
	d.becomes("first", "Refused UnhealthyStart", "2 of 3 pods of tikv are ready")
	if waited := time.Since(since.Time); waited < 9*time.Second {
		t.Errorf("it was refused after %s", waited)
	}
	d.wantEvents("NetworkFault", "first", "Warning Refused")

	d.create("second", "to: [pd]")
	d.becomes("second", "Pending UnhealthyStart")
	if got := d.effects(); len(got) > 0 {
		t.Errorf("agents do %v", got)
	}
	d.changeStatus("basic-tikv-1", func(s *corev1.PodStatus) { s.ContainerStatuses[0].Ready = true })
	d.becomes("second", "Running Applied 6/6")
	d.wantEffects(d.between("tikv", "pd", "25ms"))
	d.becomes("first", "Refused UnhealthyStart")
}

// What would cost a quorum is refused in words, and done where it is allowed.
func (f *fleet) quorum(t *testing.T) {
	d := f.database(t, nil)
	u := d.create("cut", "from: [pd(majority)], to: [others], rtt: null, partition: true, duration: 1m")
	refused := d.becomes("cut", "Refused QuorumLoss", "Set allow: [QuorumLoss] to do it all the same.")
	d.wantEvents("NetworkFault", "cut", "Warning Refused")
	d.wantEvents("TidbCluster", "basic", "Warning FaultRefused")
	for pod, n := range d.empties() {
		if c := d.agents[pod].Counts(); c != (madeup.Counts{Changes: 1, Empty: 1, Others: c.Others, Measurements: c.Measurements}) || n != 1 {
			t.Errorf("for a fault that is refused the agent of %s was asked: %+v", pod, c)
		}
	}
	if refused.Status.StartedAt != nil {
		t.Errorf("it started at %s", refused.Status.StartedAt)
	}
	must(t, patchSpec(t, u, "allow: [QuorumLoss]"))
	running := d.becomes("cut", "Running Applied 8/8")
	want := effects{}
	isFrom := map[string]bool{}
	for _, s := range running.Status.Selected {
		isFrom[d.short(s.Pod)] = isFrom[d.short(s.Pod)] || s.Selector == "pd(majority)"
	}
	for from := range maps.Keys(isFrom) {
		for to := range maps.Keys(isFrom) {
			if isFrom[from] != isFrom[to] {
				want[from+">"+to] = "cut"
			}
		}
	}
	if len(want) != 2*2*6 {
		t.Errorf("a majority of 3 and all others are %v", isFrom)
	}
	d.wantEffects(want)
}

// A TidbCluster that is protected takes no fault, and those that run end.
func (f *fleet) protect(t *testing.T) {
	d := f.database(t, nil)
	d.create("slow", "to: [pd]")
	d.becomes("slow", "Running Applied 6/6")
	d.change(func(tc *tcv1alpha1.TidbCluster) { tc.Annotations[protectAnnotation] = "true" })
	d.becomes("slow", "Ended Protected")
	d.wantEffects(effects{})
	d.wantEvents("NetworkFault", "slow", "Warning Ended")
	d.create("late", "to: [pd]")
	d.becomes("late", "Refused Protected")
}

// In a minute in which nothing happens, agents are asked to renew what they hold and the
// status is not written, while measurements go on. A TidbCluster beside that nobody means was told to hold nothing,
// once.
func (f *fleet) quietMinute(t *testing.T) {
	d := f.database(t, nil)
	bystander := f.databaseIn(d.namespace, "other", nil)
	bystander.waitAsked()
	d.create("slow", "to: [pd]")
	before := d.isVerified("slow", "6/6 True InTolerance")
	counts, began := d.counts(), time.Now()
	d.wantRenewals(counts)
	d.eventually(func() error {
		if time.Since(began) < time.Minute {
			return errEarly
		}
		return nil
	})
	if after := d.read("slow"); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the status was written: %v and then %v", before.Status, after.Status)
	}
	for pod, a := range d.agents {
		c, isHolder := a.Counts(), !isTiDB(pod)
		if renewals := c.Changes - counts[pod].Changes; isHolder && renewals > 2 || !isHolder && renewals > 0 {
			t.Errorf("the agent of %s was asked %d times in a minute", pod, renewals)
		}
	}
	if n := d.wantBound(counts, time.Since(began)); n == 0 {
		t.Error("nothing was measured in a minute")
	}
	for pod, a := range bystander.agents {
		if c := a.Counts(); c.Measurements > 0 || c.Changes != 1 || c.Empty != 1 || len(a.Faults()) > 0 {
			t.Errorf("the agent of %s, which nobody means, was asked %+v and holds %v", pod, c, a.Faults())
		}
	}
}
