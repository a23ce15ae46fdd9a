package resolve

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// TestTrim keeps what Resolve reads, and nothing that makes objects large.
func TestTrim(t *testing.T) {
	now := metav1.NewTime(time.Unix(1, 0))
	heavy := metav1.ObjectMeta{
		Name: "basic", Namespace: "db", UID: "1", ResourceVersion: "2", DeletionTimestamp: &now,
		Labels:          map[string]string{"a": "b"},
		Annotations:     map[string]string{tidbcluster.InjectAnnotation: "true", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
		OwnerReferences: []metav1.OwnerReference{toBasic},
		ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}
	tests := map[string]struct{ in, want any }{
		"of a workload, its owners": {
			in: &metav1.PartialObjectMetadata{ObjectMeta: heavy},
			want: &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
				Name: "basic", Namespace: "db", UID: "1", ResourceVersion: "2", OwnerReferences: []metav1.OwnerReference{toBasic},
			}},
		},
		"of a TidbCluster, our annotations": {
			in: &v1alpha1.TidbCluster{ObjectMeta: heavy, Spec: v1alpha1.TidbClusterSpec{Version: "v8"}, Status: v1alpha1.TidbClusterStatus{ClusterID: "9"}},
			want: &v1alpha1.TidbCluster{ObjectMeta: metav1.ObjectMeta{
				Name: "basic", Namespace: "db", UID: "1", ResourceVersion: "2", DeletionTimestamp: &now, Annotations: map[string]string{tidbcluster.InjectAnnotation: "true"},
			}},
		},
		"of anything else, everything": {in: "a tombstone", want: "a tombstone"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Trim(test.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
