package certificate

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const webhookName = "tidelay-injector"

var secretName = types.NamespacedName{Namespace: "tidelay-system", Name: SecretName(webhookName)}

func secret(ca string) *corev1.Secret {
	s := &corev1.Secret{Data: map[string][]byte{caKey: []byte(ca)}}
	s.Namespace, s.Name = secretName.Namespace, secretName.Name
	return s
}

// configuration has one webhook for each caBundle.
func configuration(bundles ...string) *admissionregistrationv1.MutatingWebhookConfiguration {
	c := &admissionregistrationv1.MutatingWebhookConfiguration{}
	c.Name = webhookName
	for i, bundle := range bundles {
		w := admissionregistrationv1.MutatingWebhook{Name: string(rune('a'+i)) + ".tidelay.io", TimeoutSeconds: new(int32(3))}
		w.ClientConfig.Service = &admissionregistrationv1.ServiceReference{Namespace: "tidelay-system", Name: "tidelay-injector"}
		w.ClientConfig.CABundle = []byte(bundle)
		c.Webhooks = append(c.Webhooks, w)
	}
	return c
}

func TestTrust(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{}, webhookName, errors.New("changed meanwhile"))
	forbidden := apierrors.NewForbidden(schema.GroupResource{}, webhookName, errors.New("no"))
	tests := map[string]struct {
		objects  []client.Object
		patchErr error
		want     []string // the caBundles afterwards
		patches  int
		ready    bool
		wantErr  error
	}{
		"if caBundles are empty or another's, write the CA into each": {
			objects: []client.Object{secret("CA"), configuration("", "other")}, want: []string{"CA", "CA"}, patches: 1, ready: true,
		},
		"if the CA is there, change nothing": {
			objects: []client.Object{secret("CA"), configuration("CA")}, want: []string{"CA"}, ready: true,
		},
		"if there is no CA yet, wait for it": {
			objects: []client.Object{configuration("old")}, want: []string{"old"},
		},
		"if the Secret is empty, wait for the CA": {
			objects: []client.Object{secret(""), configuration("old")}, want: []string{"old"},
		},
		"if there is no configuration yet, wait for it": {
			objects: []client.Object{secret("CA")},
		},
		"if somebody else was faster, wait for their change": {
			objects: []client.Object{secret("CA"), configuration("")}, patchErr: conflict, want: []string{""}, patches: 1,
		},
		"if it is forbidden, say so": {
			objects: []client.Object{secret("CA"), configuration("")}, patchErr: forbidden, want: []string{""}, patches: 1, wantErr: forbidden,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			patches := 0
			c := fake.NewClientBuilder().WithObjects(test.objects...).WithInterceptorFuncs(interceptor.Funcs{
				Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, opts ...client.PatchOption) error {
					patches++
					if test.patchErr != nil {
						return test.patchErr
					}
					return c.Patch(ctx, object, patch, opts...)
				},
			}).Build()
			trust := &Trust{Webhook: webhookName, Secret: secretName, Reader: c, Writer: c}
			if _, err := trust.Reconcile(t.Context(), reconcile.Request{}); !errors.Is(err, test.wantErr) {
				t.Errorf("error %v, want %v", err, test.wantErr)
			}
			if err := trust.Ready(nil); (err == nil) != test.ready {
				t.Errorf("Ready() = %v, want ready %v", err, test.ready)
			}
			if patches != test.patches {
				t.Errorf("%d patches, want %d", patches, test.patches)
			}
			checkConfiguration(t, c, test.objects, test.want)
		})
	}
}

// checkConfiguration wants the webhooks to differ from what they were in their
// caBundles at most.
func checkConfiguration(t *testing.T, c client.Client, before []client.Object, bundles []string) {
	t.Helper()
	i := slices.IndexFunc(before, func(o client.Object) bool {
		_, ok := o.(*admissionregistrationv1.MutatingWebhookConfiguration)
		return ok
	})
	if i < 0 {
		return
	}
	got := &admissionregistrationv1.MutatingWebhookConfiguration{}
	if err := c.Get(t.Context(), types.NamespacedName{Name: webhookName}, got); err != nil {
		t.Fatal(err)
	}
	want := configuration(bundles...).Webhooks
	if diff := cmp.Diff(want, got.Webhooks, cmp.Comparer(func(a, b []byte) bool { return string(a) == string(b) })); diff != "" {
		t.Errorf("webhooks (-want +got):\n%s", diff)
	}
}

// TestTrustStaysReady: once the API server trusts us it goes on doing so while
// we cannot look.
func TestTrustStaysReady(t *testing.T) {
	c := fake.NewClientBuilder().WithObjects(secret("CA"), configuration("CA")).Build()
	down := interceptor.NewClient(c, interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errors.New("connection refused")
		},
	})
	trust := &Trust{Webhook: webhookName, Secret: secretName, Reader: c, Writer: c}
	if _, err := trust.Reconcile(t.Context(), reconcile.Request{}); err != nil {
		t.Fatal(err)
	}
	trust.Reader = down
	if _, err := trust.Reconcile(t.Context(), reconcile.Request{}); err == nil {
		t.Error("no error though nothing could be read")
	}
	if err := trust.Ready(nil); err != nil {
		t.Errorf("Ready() = %v", err)
	}
}
