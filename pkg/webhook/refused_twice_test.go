package webhook

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tidelay/tidelay/pkg/injection"
)

// When another webhook changes the pod, the API server asks again in the same admission.
// The answer is the same, and is not counted: in eight turns, two leave the pod as it is.
func TestRefusedPodIsAskedAboutTwice(t *testing.T) {
	others := map[string]func(*corev1.Pod){
		"changes nothing that matters": func(pod *corev1.Pod) { pod.Labels["other"] = "x" },
		"adds a container": func(pod *corev1.Pod) {
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "proxy"})
		},
		"rewrites a probe": func(pod *corev1.Pod) {
			pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(15020)}}}
		},
	}
	for name, other := range others {
		t.Run(name, func(t *testing.T) {
			inBubble(t, interceptor.Funcs{}, func(t *testing.T, w *workload) { askTwice(t, w, other) })
		})
	}
}

// askTwice has w ask for a pod that is refused whatever the answer is, and again in each
// admission that is answered without the agent, after other has changed the pod.
func askTwice(t *testing.T, w *workload, other func(*corev1.Pod)) {
	first := w.change
	limitCPU := func(pod *corev1.Pod) {
		if first != nil {
			first(pod)
		}
		pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
	}
	backOff := 5 * time.Millisecond
	turn := func() (injection.Reason, func() *corev1.Pod) {
		time.Sleep(backOff)
		backOff = min(2*backOff, 1000*time.Second)
		w.change = limitCPU
		return w.ask()
	}
	wantInjected := func() {
		t.Helper()
		if reason, _ := turn(); reason != injection.Injected {
			t.Errorf("ask %d is answered with %s, want injected", w.asked, reason)
		}
	}
	refuse := func(pod *corev1.Pod) {
		t.Helper()
		if err := w.made.Delete(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	}
	wantInjected()
	var marked []bool
	for range 8 {
		wantInjected()
		_, create := turn()
		answered := create()
		refuse(answered)
		_, isMarked := answered.Annotations["tidelay.io/not-injected"]
		marked = append(marked, isMarked)

		time.Sleep(20 * time.Millisecond)
		w.change = func(pod *corev1.Pod) {
			limitCPU(pod)
			pod.Annotations = maps.Clone(answered.Annotations)
			other(pod)
		}
		reason, create := w.ask()
		again := create()
		refuse(again)
		if reason != injection.Refused || injection.HasAgent(again) || !maps.Equal(again.Annotations, answered.Annotations) {
			t.Fatalf("turn %d: the second answer is %s, and the pod has annotations %v, want %v", len(marked), reason, again.Annotations, answered.Annotations)
		}
	}
	if want := []bool{true, true, true, false, true, true, true, false}; !slices.Equal(marked, want) {
		t.Errorf("marked: %t, want %t", marked, want)
	}
}

// A pod of a workload that is refused goes without at the first ask, and so it does when
// it is asked for again in the same admission.
func TestSiblingIsAskedAboutTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workload{t: t, fixture: start(t, resolved(optedIn()), level{})}
		limitCPU := func(pod *corev1.Pod) {
			pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
		}
		w.change = limitCPU
		w.wants(injection.Injected, injection.Injected, injection.Refused)
		w.change = func(pod *corev1.Pod) { limitCPU(pod); pod.Name = "basic-tikv-1" }
		reason, create := w.ask()
		answered := create()
		if err := w.made.Delete(t.Context(), answered); reason != injection.Refused || err != nil {
			t.Fatalf("the sibling is answered with %s, %v", reason, err)
		}
		w.change = func(pod *corev1.Pod) {
			pod.Name, pod.Annotations = "basic-tikv-1", answered.Annotations
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "proxy"})
		}
		w.wants(injection.Refused)
	})
}

// An Event that says injected is about a pod that is there, has the agent, and comes
// of that admission.
