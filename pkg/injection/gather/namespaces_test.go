package gather

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/injection"
)

func namespace(level string) client.Object {
	n := &corev1.Namespace{}
	n.Name = "db"
	if level != "" {
		n.Labels = map[string]string{injection.EnforceLabel: level}
	}
	return n
}

func TestEnforcedLevel(t *testing.T) {
	none := []client.Object{}
	tests := map[string]struct {
		cached, server []client.Object
		want           string
		wantErr        bool
		liveReads      int
	}{
		"if none is enforced, answer from the cache":       {cached: []client.Object{namespace("")}, server: none},
		"if privileged is enforced, answer from the cache": {cached: []client.Object{namespace("privileged")}, server: none, want: "privileged"},
		"if restricted is enforced, confirm it":            {cached: []client.Object{namespace("restricted")}, server: []client.Object{namespace("restricted")}, want: "restricted", liveReads: 1},
		"if restricted is enforced no more, see it":        {cached: []client.Object{namespace("restricted")}, server: []client.Object{namespace("privileged")}, want: "privileged", liveReads: 1},
		"if the cache has no such namespace, read live":    {cached: none, server: []client.Object{namespace("baseline")}, want: "baseline", liveReads: 1},
		"if there is no such namespace, say so":            {cached: none, server: none, wantErr: true, liveReads: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			liveReads := 0
			live := fake.NewClientBuilder().WithObjects(test.server...).WithInterceptorFuncs(interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
					liveReads++
					return c.Get(ctx, key, object, opts...)
				},
			}).Build()
			reader, err := confirm.NewReader(fake.NewClientBuilder().WithObjects(test.cached...).Build(), live, rate.NewLimiter(rate.Inf, 0), prometheus.NewRegistry())
			if err != nil {
				t.Fatal(err)
			}
			got, err := NewNamespaces(reader).EnforcedLevel(t.Context(), "db")
			if got != test.want || (err != nil) != test.wantErr || liveReads != test.liveReads {
				t.Errorf("got %q, %v with %d live reads; want %q with %d", got, err, liveReads, test.want, test.liveReads)
			}
		})
	}
}

func TestTrimNamespace(t *testing.T) {
	full := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: "db", UID: "1", ResourceVersion: "2", Labels: map[string]string{injection.EnforceLabel: "baseline"},
		Annotations: map[string]string{"large": "value"}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}}
	want := metav1.ObjectMeta{Name: "db", UID: "1", ResourceVersion: "2", Labels: map[string]string{injection.EnforceLabel: "baseline"}}
	if _, err := trimNamespace(full); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, full.ObjectMeta); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	tombstone := errors.New("anything else")
	if got, err := trimNamespace(tombstone); err != nil || got != any(tombstone) {
		t.Errorf("anything else becomes %v, %v; want it unchanged", got, err)
	}
}
