package missed

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// live is a TidbCluster with conditions that have a field no type of ours knows.
func live(conditions ...any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"resourceVersion": "7"},
		"status":   map[string]any{"conditions": conditions},
	}}
}

func TestConditionPatch(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	theirs := map[string]any{"type": "Ready", "status": "True", "newField": "kept"}
	ours := map[string]any{
		"type": "TidelayInjected", "status": "False", "reason": "missed", "message": "1",
		"lastUpdateTime": "2025-01-01T00:00:00Z", "lastTransitionTime": "2025-01-01T00:00:00Z",
	}
	want := func(status corev1.ConditionStatus, message string) *v1alpha1.TidbClusterCondition {
		return &v1alpha1.TidbClusterCondition{Type: "TidelayInjected", Status: status, Reason: "missed", Message: message}
	}
	written := func(status, message, since string) map[string]any {
		return map[string]any{
			"type": "TidelayInjected", "status": status, "reason": "missed", "message": message,
			"lastUpdateTime": "2026-01-02T03:04:05Z", "lastTransitionTime": since,
		}
	}
	tests := map[string]struct {
		live *unstructured.Unstructured
		want *v1alpha1.TidbClusterCondition
		then []any // nil for no patch
	}{
		"if there is none, add":            {live: live(theirs), want: want("False", "1"), then: []any{theirs, written("False", "1", "2026-01-02T03:04:05Z")}},
		"if there is no status, add":       {live: &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"resourceVersion": "7"}}}, want: want("False", "1"), then: []any{written("False", "1", "2026-01-02T03:04:05Z")}},
		"if they are null, add":            {live: &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"resourceVersion": "7"}, "status": map[string]any{"conditions": nil}}}, want: want("False", "1"), then: []any{written("False", "1", "2026-01-02T03:04:05Z")}},
		"if it says so, nothing":           {live: live(ours, theirs), want: want("False", "1")},
		"if it says else, replace":         {live: live(ours, theirs), want: want("False", "2"), then: []any{theirs, written("False", "2", "2025-01-01T00:00:00Z")}},
		"if the status turns, say when":    {live: live(theirs, ours), want: want("True", "1"), then: []any{theirs, written("True", "1", "2026-01-02T03:04:05Z")}},
		"if none is wanted, take it away":  {live: live(theirs, ours), then: []any{theirs}},
		"if none is wanted or there, none": {live: live(theirs)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			patch, err := conditionPatch(test.live.DeepCopy(), test.want, at)
			if err != nil {
				t.Fatal(err)
			}
			if test.then == nil {
				if patch != nil {
					t.Errorf("patch %s, want none", patch)
				}
				return
			}
			var got map[string]any
			if err := json.Unmarshal(patch, &got); err != nil {
				t.Fatalf("patch %q: %v", patch, err)
			}
			want := map[string]any{"metadata": map[string]any{"resourceVersion": "7"}, "status": map[string]any{"conditions": test.then}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("patch (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConditionPatchOfNonsense(t *testing.T) {
	broken := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": "none"}}}
	if patch, err := conditionPatch(broken, nil, metav1.Now()); err == nil {
		t.Errorf("patch %s of conditions that are no list", patch)
	}
}
