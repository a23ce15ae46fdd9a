package plugin_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// What is of another TidbCluster, of a workload that is gone, or has ended, is left out, but for
// the names of faults and topologies. So it
// is where owners may not be read and pods go by their names, but for the second.
func TestLookLeavesOut(t *testing.T) {
	w := newWorld(t)
	set := func(name string, uid types.UID) *appsv1.StatefulSet {
		return &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: name, UID: uid}}
	}
	ended := newPod(set("basic-tikv", "set-tikv"), "tikv", 7, "10.1.0.1")
	ended.Status.Phase = corev1.PodFailed
	theirs := object.NewFault("db", "theirs", v1alpha1.NetworkFaultSpec{Cluster: "other"})
	ground := object.NewTopology("db", "theirs", v1alpha1.NetworkTopologySpec{Cluster: "other"})
	for _, o := range []client.Object{
		newPod(set("other-tikv", "other"), "tikv", 0, "10.1.0.2"), newPod(set("basic-tikv", "old"), "tikv", 8, "10.1.0.3"), ended, theirs, ground,
	} {
		if err := w.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		forbidden string
		want      int // pods
	}{{"", 8}, {"StatefulSet", 9}} {
		w.forbidden[test.forbidden] = true
		seen, err := look.Read(t.Context(), w, types.NamespacedName{Namespace: "db", Name: "basic"})
		if err != nil {
			t.Fatal(err)
		}
		if len(seen.Pods) != test.want || len(seen.Objects()) != 0 {
			t.Errorf("without %s: %d pods and %d objects, want %d and none", test.forbidden, len(seen.Pods), len(seen.Objects()), test.want)
		}
		if len(seen.InNamespace()) != 2 || len(seen.OtherFaults) != 1 || len(seen.OtherTopologies) != 1 {
			t.Errorf("without %s: in the namespace are %v", test.forbidden, seen.InNamespace())
		}
	}
}

// A failed read is told, whatever else was read.
func TestLookFails(t *testing.T) {
	w := newWorld(t)
	w.Client = interceptor.NewClient(w.Client.(client.WithWatch), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, is := list.(*corev1.PodList); is {
				return errors.New("the API server is gone")
			}
			return c.List(ctx, list, opts...)
		},
	})
	if status := w.run(t.Context(), "set", "basic", "50ms", "--from=tikv"); status != 1 || !strings.Contains(w.errOut.String(), "read pods: the API server is gone") {
		t.Errorf("exit status %d: %s", status, w.errOut.String())
	}
}

// What can be cleared is, and what can't be is told.
func TestClearFails(t *testing.T) {
	w := newWorld(t)
	for _, from := range []string{"tikv", "tidb"} {
		if status := w.run(t.Context(), "set", "basic", "50ms", "--from="+from); status != 0 {
			t.Fatal(w.errOut.String())
		}
	}
	w.Client = interceptor.NewClient(w.Client.(client.WithWatch), interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if o.GetName() == "basic-tidb" {
				return errors.New("no right")
			}
			return c.Delete(ctx, o, opts...)
		},
	})
	if status := w.run(t.Context(), "clear", "--all"); status != 1 || !strings.Contains(w.errOut.String(), "delete NetworkFault basic-tidb: no right") {
		t.Errorf("exit status %d: %s", status, w.errOut.String())
	}
	if left := w.names(); strings.Contains(left, "basic-tikv") || !strings.Contains(left, "basic-tidb") {
		t.Errorf("left: %s", left)
	}
}
