package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// looks is for how long a start is looked at again, and for less than a second more.
const looks = 10 * time.Second

// ill are TidbClusters in which a fault can't start now, and the rule that says so.
func ill() map[string]struct {
	spec       string
	harm, heal func(*world)
	rule       v1alpha1.Allowance
} {
	type one = struct {
		spec       string
		harm, heal func(*world)
		rule       v1alpha1.Allowance
	}
	ready := func(is bool) func(*world) { return func(w *world) { w.pod("basic-tidb-1").Ready = is } }
	synced := func(is bool) func(*world) { return func(w *world) { w.Cluster.Status.PD.Synced = is } }
	phase := func(p tcv1alpha1.MemberPhase) func(*world) { return func(w *world) { w.Cluster.Status.TiKV.Phase = p } }
	store := func(state string) func(*world) {
		return func(w *world) {
			s := w.Cluster.Status.TiKV.Stores["3"]
			s.State = state
			w.Cluster.Status.TiKV.Stores["3"] = s
		}
	}
	const cut = `{"from": ["tikv(0)"], "partition": true, "duration": "1m"}`
	return map[string]one{
		"a pod is not ready":         {slowStore, ready(false), ready(true), v1alpha1.UnhealthyStart},
		"PD was not asked":           {slowStore, synced(false), synced(true), v1alpha1.UnhealthyStart},
		"TiKV is scaled":             {slowStore, phase(tcv1alpha1.ScalePhase), phase(tcv1alpha1.NormalPhase), v1alpha1.Upgrade},
		"the quorum is not known":    {cut, synced(false), synced(true), v1alpha1.QuorumLoss},
		"a store more would be lost": {cut, store("Disconnected"), store("Up"), v1alpha1.QuorumLoss},
	}
}

const slowStore = `{"from": ["tikv(0)"], "rtt": "50ms", "duration": "10m"}`

// A start that the TidbCluster's health forbids for the moment waits, and starts once that
// is over.
func TestAnEarlyStart(t *testing.T) {
	for name, test := range ill() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			f := w.fault("early", test.spec)
			test.harm(w)
			for range 3 {
				if d := w.decide(); len(faulted(d)) > 0 || f.Status.StartedAt != nil || !d.Next.Equal(time.Unix(1_000_011, 0)) {
					t.Errorf("faults at %v, next at %s, status %+v", faulted(d), d.Next, f.Status)
				}
				w.want(f, v1alpha1.Pending, string(test.rule), "It is looked at again, and refused if that is still so after 10s.")
				w.Now = w.Now.Add(3 * time.Second)
			}
			test.heal(w)
			w.run()
			w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
			if !meta.IsStatusConditionTrue(f.Status.Conditions, v1alpha1.Safe) || len(f.Status.Conditions) != 3 {
				t.Errorf("conditions %+v", f.Status.Conditions)
			}
		})
	}
}

// After some time it is refused, without a change of its status before, and stays so
// until somebody changes it. Then it is looked at anew.
func TestAnEarlyStartIsRefusedAtLast(t *testing.T) {
	for name, test := range ill() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			f := w.fault("early", test.spec)
			test.harm(w)
			d := w.decide()
			before, until := f.Status.DeepCopy(), d.Next
			w.Now = until.Add(-time.Millisecond)
			if d = w.decide(); !d.Next.Equal(until) || !cmp.Equal(*before, f.Status) {
				t.Errorf("next at %s instead of %s, status\n%s", d.Next, until, cmp.Diff(*before, f.Status))
			}
			w.Now = until
			if d = w.decide(); !d.Next.IsZero() {
				t.Errorf("next at %s", d.Next)
			}
			w.want(f, v1alpha1.Refused, string(test.rule), "It is tried again when it is changed or created again.")
			if c := meta.FindStatusCondition(f.Status.Conditions, v1alpha1.Safe); c == nil || c.Status != "False" || c.Reason != string(test.rule) {
				t.Errorf("condition %+v", c)
			}
			test.heal(w)
			w.decide()
			w.want(f, v1alpha1.Refused, string(test.rule), "")

			test.harm(w)
			f.Generation++
			w.Now = w.Now.Add(time.Hour)
			d = w.decide()
			w.want(f, v1alpha1.Pending, string(test.rule), "looked at again")
			if wait := d.Next.Sub(w.Now); wait < looks || wait >= looks+time.Second {
				t.Errorf("looks again for %s", wait)
			}
			test.heal(w)
			w.decide()
			w.want(f, v1alpha1.Running, decide.ReasonApplying, "")
		})
	}
}

// What would be refused in a healthy TidbCluster too is refused at once.
func TestWhatHealthDoesNotMend(t *testing.T) {
	for rule, spec := range map[v1alpha1.Allowance]string{
		v1alpha1.QuorumLoss: `{"from": ["pd(majority)"], "partition": true, "duration": "1m"}`,
		v1alpha1.LongDelay:  `{"from": ["tikv(0)"], "rtt": "2s", "duration": "1m"}`,
		v1alpha1.Failover:   `{"from": ["tikv(0)"], "partition": true, "untilDeleted": true}`,
	} {
		w := newWorld(t)
		w.pod("basic-tidb-1").Ready = false
		f := w.fault("bad", spec)
		w.decide()
		w.want(f, v1alpha1.Refused, string(rule), "1 of 2 pods of tidb are ready")
	}
}

// A clock that is set back or forward makes nobody wait for long.
func TestAClockThatIsSetDuringAnEarlyStart(t *testing.T) {
	for _, step := range []time.Duration{-time.Hour, -looks, looks + time.Second, time.Hour} {
		w := newWorld(t)
		w.pod("basic-tidb-1").Ready = false
		f := w.fault("early", slowStore)
		w.decide()
		w.Now = w.Now.Add(step)
		w.decide()
		w.want(f, v1alpha1.Refused, string(v1alpha1.UnhealthyStart), "")
	}
	w := newWorld(t)
	w.pod("basic-tidb-1").Ready = false
	f := w.fault("early", slowStore)
	w.decide()
	w.Now = w.Now.Add(-5 * time.Second)
	if d := w.decide(); d.Next.Sub(w.Now) > 2*looks {
		t.Errorf("waits for %s", d.Next.Sub(w.Now))
	}
	w.want(f, v1alpha1.Pending, string(v1alpha1.UnhealthyStart), "")
}

// The time of one wait does not count for the next: after a pause, a wait for something
// else, or a start.
func TestAWaitIsNotTheNext(t *testing.T) {
	for name, between := range map[string]func(w *world, f *v1alpha1.NetworkFault) (undo func()){
		"paused": func(_ *world, f *v1alpha1.NetworkFault) func() {
			f.Spec.Paused = true
			f.Generation++
			return func() { f.Spec.Paused = false; f.Generation++ }
		},
		"no cluster": func(w *world, _ *v1alpha1.NetworkFault) func() {
			tc := w.Cluster
			w.Cluster = nil
			return func() { w.Cluster = tc }
		},
		"role unknown": func(w *world, _ *v1alpha1.NetworkFault) func() {
			w.Cluster.Status.PD.Synced = false
			return func() { w.Cluster.Status.PD.Synced = true }
		},
		"runs, and is paused": func(w *world, f *v1alpha1.NetworkFault) func() {
			w.pod("basic-tidb-1").Ready = true
			w.run()
			w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
			w.pod("basic-tidb-1").Ready = false
			w.decide()
			w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
			f.Spec.Paused = true
			f.Generation++
			return func() { f.Spec.Paused = false; f.Generation++ }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pod("basic-tidb-1").Ready = false
			f := w.fault("early", strings.ReplaceAll(slowLeader, "90.5s", "10h"))
			w.decide()
			w.want(f, v1alpha1.Pending, string(v1alpha1.UnhealthyStart), "")
			undo := between(w, f)
			w.decide()
			if c := meta.FindStatusCondition(f.Status.Conditions, v1alpha1.Safe); f.Status.Reason == string(v1alpha1.UnhealthyStart) || c != nil && c.Status == "Unknown" {
				t.Fatalf("status %+v", f.Status)
			}
			w.Now = w.Now.Add(time.Hour)
			undo()
			d := w.decide()
			w.want(f, v1alpha1.Pending, string(v1alpha1.UnhealthyStart), "")
			if wait := d.Next.Sub(w.Now); wait < looks || wait >= looks+time.Second {
				t.Errorf("looks again for %s", wait)
			}
			w.Now = d.Next.Add(-time.Second)
			w.decide()
			w.want(f, v1alpha1.Pending, string(v1alpha1.UnhealthyStart), "")
			w.Now = d.Next
			w.decide()
			w.want(f, v1alpha1.Refused, string(v1alpha1.UnhealthyStart), "")
		})
	}
}

// A fault that waits takes nothing from those beside it, and its end is not the next.
func TestAWaitBesideOthers(t *testing.T) {
	w := newWorld(t)
	w.pod("basic-tidb-1").Ready = false
	early := w.fault("early", slowStore)
	brave := w.fault("brave", `{"from": ["pd(leader)"], "rtt": "10ms", "duration": "3s", "allow": ["UnhealthyStart"]}`)
	d := w.run()
	w.want(early, v1alpha1.Pending, string(v1alpha1.UnhealthyStart), "")
	w.want(brave, v1alpha1.Running, decide.ReasonApplied, "")
	if !d.Next.Equal(brave.Status.ExpiresAt.Time) {
		t.Errorf("next at %s, want the end of the fault that runs at %s", d.Next, brave.Status.ExpiresAt)
	}
}
