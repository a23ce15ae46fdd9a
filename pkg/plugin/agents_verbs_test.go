package plugin_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// obeyHand sets a fault at the agent of a pod.
func (w *world) obeyHand(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	var pod string
	var minutes int
	f := api.Fault{Name: "latency"}
	d.ScanArgs(t, "pod", &pod)
	d.ScanArgs(t, "delay", &f.Delay)
	d.MaybeScanArgs(t, "name", &f.Name)
	d.MaybeScanArgs(t, "owner", &f.Owner)
	if d.MaybeScanArgs(t, "minutes", &minutes) {
		f.Duration = (time.Duration(minutes) * time.Minute).String()
	}
	w.set(pod, append(w.proxy.agents[pod].Faults(), f)...)
}

// obeyAgent has the agent of a pod, or of all, behave in a way, or say something else.
func (w *world) obeyAgent(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	var pod, way string
	d.MaybeScanArgs(t, "pod", &pod)
	if d.MaybeScanArgs(t, "is", &way) {
		w.proxy.answer(pod, behaviour(way))
		return
	}
	w.proxy.says[pod] = says(t, d)
}

// obeyKill has the agent of a pod not run.
func (w *world) obeyKill(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	var pod string
	d.ScanArgs(t, "pod", &pod)
	w.kill(pod)
}

// obeyMissed writes the condition of the check for missed pods.
func (w *world) obeyMissed(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	reason, seconds := "missed", 0
	d.MaybeScanArgs(t, "reason", &reason)
	d.MaybeScanArgs(t, "seconds", &seconds)
	tc := w.cluster()
	tc.Status.Conditions = append(tc.Status.Conditions, tcv1alpha1.TidbClusterCondition{
		Type: tidbcluster.InjectedCondition, Status: corev1.ConditionFalse, Reason: reason, Message: d.Input,
		LastUpdateTime: metav1.NewTime(w.now.Add(-time.Duration(seconds) * time.Second)),
	})
	w.write(tc)
}

// obeyLease has the controller have led some minutes ago.
func (w *world) obeyLease(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	var minutes int
	d.ScanArgs(t, "minutes", &minutes)
	renewed := metav1.NewMicroTime(w.now.Add(-time.Duration(minutes) * time.Minute))
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "tidelay-system", Name: "tidelay-controller"}}
	lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds = &renewed, new(int32(15))
	if err := w.Create(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
}

// says returns a change of what an agent says of itself.
func says(t *testing.T, d *datadriven.TestData) func(*api.Status) {
	t.Helper()
	var more api.Status
	d.MaybeScanArgs(t, "version", &more.Version)
	d.MaybeScanArgs(t, "engine", &more.Engine)
	d.MaybeScanArgs(t, "reason", &more.Reason)
	if d.Input != "" {
		more.Warnings = []string{d.Input}
	}
	isMissing := d.HasArg("missing")
	return func(s *api.Status) {
		s.Version, s.Engine = cmp.Or(more.Version, s.Version), cmp.Or(more.Engine, s.Engine)
		s.Reason, s.Warnings = more.Reason, more.Warnings
		for i := range s.Faults {
			s.Faults[i].Held = !isMissing
		}
	}
}

// kill has the agent of a pod crash again and again.
func (w *world) kill(name string) {
	w.t.Helper()
	var pod corev1.Pod
	if err := w.Get(w.t.Context(), types.NamespacedName{Namespace: "db", Name: name}, &pod); err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.State.Running != nil })
	pod.Status.ContainerStatuses[i].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	pod.Status.ContainerStatuses[i].LastTerminationState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error"}}
	if err := w.Status().Update(w.t.Context(), &pod); err != nil {
		w.t.Fatal(err)
	}
}
