package injection

import (
	"encoding/json"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// apply applies the patch of a decision to a pod.
func apply(t *testing.T, pod *corev1.Pod, d Decision) *corev1.Pod {
	t.Helper()
	raw, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	operations, err := json.Marshal(d.Patch)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(operations)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = patch.Apply(raw); err != nil {
		t.Fatalf("apply %s: %v", operations, err)
	}
	patched := &corev1.Pod{}
	if err := json.Unmarshal(raw, patched); err != nil {
		t.Fatal(err)
	}
	return patched
}

// A refused pod gets two annotations and nothing else.
func TestRefused(t *testing.T) {
	for name, annotations := range map[string]map[string]string{"without annotations": nil, "with others": {"a.b/c": "d"}} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{}
			pod.Annotations, pod.Spec.Containers = annotations, []corev1.Container{{Name: "tikv"}}
			d := Decision{Reason: Injected, Problems: []string{"p"}}.Refused(pod, "why").Marked("b5a4")
			if d.Reason != Refused || d.Detail != "why" || len(d.Problems) != 1 || !d.Reason.Unwanted() {
				t.Errorf("decision %+v", d)
			}
			want := pod.DeepCopy()
			if want.Annotations == nil {
				want.Annotations = map[string]string{}
			}
			want.Annotations[NotInjectedAnnotation], want.Annotations[AdmissionAnnotation] = "refused", "b5a4"
			if diff := cmp.Diff(want, apply(t, pod, d)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// An annotation that was copied from a refused pod keeps no pod from the agent, and
// does not stay.
func TestCopyOfARefusedPodIsInjected(t *testing.T) {
	pod := &corev1.Pod{}
	pod.Annotations = map[string]string{NotInjectedAnnotation: "refused", AdmissionAnnotation: "old"}
	pod.Spec.Containers = []corev1.Container{{Name: "tikv"}}
	d := testConfig.Decide(pod, optedIn(), Facts{}).Marked("new")
	if d.Reason != Injected {
		t.Fatalf("reason %s, want injected", d.Reason)
	}
	got := apply(t, pod, d)
	if _, ok := got.Annotations[NotInjectedAnnotation]; ok || !HasAgent(got) || got.Annotations[AdmissionAnnotation] != "new" {
		t.Errorf("annotations %v", got.Annotations)
	}
}
