package networkfault

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// setReady says whether the component of a pod is ready.
func (w *world) setReady(pod string, is bool) {
	w.t.Helper()
	change(w, pod, &corev1.Pod{}, func(p *corev1.Pod) { p.Status.ContainerStatuses[0].Ready = is })
}

const early = `{"from": ["tikv"], "delay": "5ms", "untilDeleted": true}`

// A fault that is created just before a pod is seen to be ready starts when it is.
func TestAnEarlyStart(t *testing.T) {
	w := newWorld(t)
	w.setReady("basic-pd-0", false)
	w.fault("early", early)
	if wait := w.reconcile().RequeueAfter; wait != 10*time.Second {
		t.Errorf("again after %s, want 10s", wait)
	}
	if s := w.status("early"); s.Phase != v1alpha1.Pending || s.Reason != string(v1alpha1.UnhealthyStart) || w.agents.count() != 0 {
		t.Errorf("status %+v, %d agents hold it", s, w.agents.count())
	}
	if got := w.events.take(); len(got) != 2 || !strings.HasPrefix(got[0], "early Normal Pending UnhealthyStart: The TidbCluster is not healthy") {
		t.Errorf("Events %q", got)
	}
	w.now = w.now.Add(4 * time.Second)
	w.setReady("basic-pd-0", true)
	w.reconcile()
	if s := w.status("early"); s.Phase != v1alpha1.Running || s.Reason != decide.ReasonApplied || w.agents.count() != 8 {
		t.Errorf("status %+v, %d agents hold it", s, w.agents.count())
	}
}

// One whose TidbCluster is not healthy for longer is refused in time, whatever becomes of
// the controller, and is written twice: as it waits, and as it is refused.
func TestAnEarlyStartIsRefused(t *testing.T) {
	for name, restarts := range map[string]bool{"one controller": false, "a new controller": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.setReady("basic-pd-0", false)
			w.fault("early", early)
			w.reconcile()
			for i := range 4 {
				w.now = w.now.Add(2 * time.Second)
				if restarts {
					w.Reconciler = w.newReconciler(w.agents)
				}
				if wait, want := w.reconcile().RequeueAfter, time.Duration(4-i)*2*time.Second; wait != want {
					t.Errorf("again after %s, want %s", wait, want)
				}
			}
			w.events.take()
			w.now = w.now.Add(2 * time.Second)
			if wait := w.reconcile().RequeueAfter; wait != 0 {
				t.Errorf("again after %s", wait)
			}
			if s := w.status("early"); s.Phase != v1alpha1.Refused || s.Reason != string(v1alpha1.UnhealthyStart) || w.writes != 2 {
				t.Errorf("status %+v after %d writes", s, w.writes)
			}
			if got := w.events.take(); len(got) != 2 || !strings.HasPrefix(got[0], "early Warning Refused UnhealthyStart") {
				t.Errorf("Events %q", got)
			}
			w.setReady("basic-pd-0", true)
			w.reconcile()
			if s := w.status("early"); s.Phase != v1alpha1.Refused {
				t.Errorf("status %+v, and nobody has changed it", s)
			}
		})
	}
}

// That a fault waits is remembered while it can't be written.
func TestAnEarlyStartThatCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	w.setReady("basic-pd-0", false)
	w.fault("early", early)
	w.refuseWrites = func(client.Object) error { return errors.New("etcd is unwell") }
	for range 11 {
		if _, err := w.Reconcile(t.Context(), ctrl.Request{NamespacedName: basic}); err == nil {
			t.Error("no error")
		}
		w.now = w.now.Add(time.Second)
	}
	w.refuseWrites = nil
	w.reconcile()
	if s := w.status("early"); s.Phase != v1alpha1.Refused {
		t.Errorf("status %+v", s)
	}
	if got := w.events.take(); slices.ContainsFunc(got, func(e string) bool { return strings.Contains(e, "Pending") }) {
		t.Errorf("Events %q, want none of what nobody could read", got)
	}
}
