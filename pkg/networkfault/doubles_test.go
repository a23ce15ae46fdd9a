package networkfault

import (
	"context"
	"testing"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// stale is a client that goes on listing the NetworkFaults of a moment.
type stale struct {
	client.Client
	frozen *v1alpha1.NetworkFaultList
}

func (s *stale) freeze(t *testing.T) {
	t.Helper()
	s.frozen = &v1alpha1.NetworkFaultList{}
	if err := s.Client.List(t.Context(), s.frozen); err != nil {
		t.Fatal(err)
	}
}

func (s *stale) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if faults, ok := list.(*v1alpha1.NetworkFaultList); ok && s.frozen != nil {
		s.frozen.DeepCopyInto(faults)
		return nil
	}
	return s.Client.List(ctx, list, opts...)
}

// without is a Resolver to which one pod is no member.
type without struct {
	Resolver
	pod string
}

func (w without) Resolve(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, error) {
	if pod.Name == w.pod {
		return tidbcluster.Membership{}, tidbcluster.ErrNotMember
	}
	return w.Resolver.Resolve(ctx, namespace, pod)
}

// failing is a Resolver that can't read.
type failing struct{ err error }

func (f failing) Resolve(context.Context, string, *corev1.Pod) (tidbcluster.Membership, error) {
	return tidbcluster.Membership{}, f.err
}

func (w *world) annotate(key, value string) {
	w.t.Helper()
	change(w, basic.Name, &tcv1alpha1.TidbCluster{}, func(c *tcv1alpha1.TidbCluster) { c.Annotations[key] = value })
}

func (w *world) remove(object client.Object, name string) {
	w.t.Helper()
	object.SetNamespace(basic.Namespace)
	object.SetName(name)
	if err := w.Delete(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}
