package certificate

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/tidelay/tidelay/pkg/cabundle"
	"github.com/tidelay/tidelay/pkg/cabundle/catest"
)

const webhookName = "tidelay-injector"

var secretName = types.NamespacedName{Namespace: "tidelay-system", Name: SecretName(webhookName)}

// secret has a CA with its key, as the library writes it.
func secret(t *testing.T, ca catest.CA) *corev1.Secret {
	t.Helper()
	return secretOf(map[string][]byte{caKey: pems(ca), corev1.TLSCertKey: pems(ca), corev1.TLSPrivateKeyKey: ca.KeyPEM})
}

func secretOf(data map[string][]byte) *corev1.Secret {
	s := &corev1.Secret{Data: data}
	s.Namespace, s.Name = secretName.Namespace, secretName.Name
	return s
}

// newTrust returns a Trust of a fake API server, and the notes of its Events.
func newTrust(t *testing.T, c client.Client) (*Trust, *events.FakeRecorder) {
	t.Helper()
	trust, err := NewTrust(webhookName, secretName, prometheus.NewPedanticRegistry())
	if err != nil {
		t.Fatal(err)
	}
	recorder := events.NewFakeRecorder(10)
	trust.Reader, trust.Writer, trust.Events = c, c, recorder
	return trust, recorder
}

func reconcileOnce(t *testing.T, trust *Trust) {
	t.Helper()
	if _, err := trust.Reconcile(t.Context(), reconcile.Request{}); err != nil {
		t.Fatal(err)
	}
}

// atNoon runs a test at the time for which certificates of the tests are made.
func atNoon(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(noon()))
		test(t)
	})
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
	ca, old := newCA(t, "ours", 24), newCA(t, "ours", 24)
	good, bundle := secret(t, ca), string(pems(ca))
	tests := map[string]struct {
		objects  []client.Object
		patchErr error
		want     []string // the caBundles afterwards
		patches  int
		refused  bool   // whether a leaf of the CA is not trusted
		because  string // what is said then
		wantErr  error
	}{
		"if caBundles are empty or another's, write the CA into each": {
			objects: []client.Object{good, configuration("", "other")}, want: []string{bundle, bundle}, patches: 1,
		},
		"if the CA is there, change nothing": {
			objects: []client.Object{good, configuration(bundle)}, want: []string{bundle},
		},
		"if the CA before is there, keep it": {
			objects: []client.Object{good, configuration(string(pems(old)))}, want: []string{string(pems(ca, old))}, patches: 1,
		},
		"if there is no CA yet, wait for it": {
			objects: []client.Object{configuration("old")}, want: []string{"old"}, refused: true, because: "is not in the caBundle",
		},
		"if there is no configuration yet, wait for it": {
			objects: []client.Object{good}, refused: true, because: "there is no MutatingWebhookConfiguration tidelay-injector",
		},
		"if there is no webhook in it, wait for it": {
			objects: []client.Object{good, configuration()}, refused: true, because: "has no webhooks",
		},
		"if somebody else was faster, wait for their change": {
			objects: []client.Object{good, configuration("")}, patchErr: conflict, want: []string{""}, patches: 1, refused: true,
		},
		"if it is forbidden, say so": {
			objects: []client.Object{good, configuration("")}, patchErr: forbidden, want: []string{""}, patches: 1, refused: true, wantErr: forbidden,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			atNoon(t, func(t *testing.T) {
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
				trust, _ := newTrust(t, c)
				if _, err := trust.Reconcile(t.Context(), reconcile.Request{}); !errors.Is(err, test.wantErr) {
					t.Errorf("error %v, want %v", err, test.wantErr)
				}
				err := trust.Trusts(newLeaf(t, ca, 1))
				if (err != nil) != test.refused || err != nil && !strings.Contains(err.Error(), test.because) {
					t.Errorf("Trusts() = %v, want an error: %t, %q", err, test.refused, test.because)
				}
				if patches != test.patches {
					t.Errorf("%d patches, want %d", patches, test.patches)
				}
				checkConfiguration(t, c, test.objects, test.want)
			})
		})
	}
}

// What is no usable CA never gets into the caBundle, and the one that is there stays and
// is repaired. It is told once, and until there is a usable one.
func TestTrustRefusesWhatIsNoCA(t *testing.T) {
	ca, other, expired := newCA(t, "ours", 24), newCA(t, "ours", 24), newCA(t, "ours", -1)
	data := func(change func(map[string][]byte)) map[string][]byte {
		d := secret(t, other).Data
		change(d)
		return d
	}
	leaf := cabundle.Encode(newLeaf(t, other, 1))
	both := func(text []byte) map[string][]byte {
		return data(func(d map[string][]byte) { d[caKey], d[corev1.TLSCertKey] = text, text })
	}
	for name, test := range map[string]struct {
		data map[string][]byte
		want string
	}{
		"a word":                 {data(func(d map[string][]byte) { d[caKey] = []byte("garbage") }), "ca.crt: no certificate in it can be read"},
		"nothing":                {nil, "ca.crt: empty"},
		"only a word in tls.crt": {data(func(d map[string][]byte) { d[corev1.TLSCertKey] = []byte("garbage") }), "tls.crt, tls.key: "},
		"no key":                 {data(func(d map[string][]byte) { delete(d, corev1.TLSPrivateKeyKey) }), "tls.crt, tls.key: "},
		"another's key":          {data(func(d map[string][]byte) { d[corev1.TLSPrivateKeyKey] = secret(t, ca).Data[corev1.TLSPrivateKeyKey] }), "private key does not match"},
		"two certificates":       {data(func(d map[string][]byte) { d[caKey] = pems(ca) }), "ca.crt and tls.crt differ"},
		"a leaf":                 {both(leaf), "is not that of a CA"},
		"a leaf before a CA":     {both(append(leaf, pems(other)...)), "is not that of a CA"},
		"an expired CA":          {secret(t, expired).Data, "expired at"},
		"the beginning of a CA":  {both(pems(other)[:200]), "ca.crt: no certificate in it can be read"},
		"a megabyte":             {both(bytes.Repeat([]byte("garbage\n"), 1<<17)), "ca.crt: no certificate in it can be read"},
	} {
		t.Run(name, func(t *testing.T) {
			atNoon(t, func(t *testing.T) {
				c := fake.NewClientBuilder().WithObjects(secret(t, ca), configuration("")).Build()
				trust, notes := newTrust(t, c)
				reconcileOnce(t, trust)
				replace := func(data map[string][]byte) {
					t.Helper()
					if err := c.Update(t.Context(), secretOf(data)); err != nil {
						t.Fatal(err)
					}
				}
				replace(test.data)
				for _, emptied := range []bool{false, true} {
					if emptied {
						if err := c.Update(t.Context(), withVersion(t, c, configuration(""))); err != nil {
							t.Fatal(err)
						}
					}
					reconcileOnce(t, trust)
					checkConfiguration(t, c, []client.Object{configuration("")}, []string{string(pems(ca))})
				}
				if err := trust.Problem(); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("Problem() = %v, want %q", err, test.want)
				}
				if err := trust.Trusts(newLeaf(t, ca, 1)); err != nil {
					t.Errorf("a leaf of the CA before: %v", err)
				}
				if got := testutil.ToFloat64(trust.usable); got != 0 {
					t.Errorf("tidelay_ca_usable is %v, want 0", got)
				}
				if len(notes.Events) != 1 {
					t.Errorf("%d Events, want 1", len(notes.Events))
				}

				replace(secret(t, other).Data)
				reconcileOnce(t, trust)
				checkConfiguration(t, c, []client.Object{configuration("")}, []string{string(pems(other, ca))})
				if err := trust.Problem(); err != nil || testutil.ToFloat64(trust.usable) != 1 {
					t.Errorf("Problem() = %v after it was solved", err)
				}
			})
		})
	}
}

// withVersion gives an object the resource version that it has now.
func withVersion(t *testing.T, c client.Client, object client.Object) client.Object {
	t.Helper()
	now := object.DeepCopyObject().(client.Object)
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(object), now); err != nil {
		t.Fatal(err)
	}
	object.SetResourceVersion(now.GetResourceVersion())
	return object
}

// A lost trust is seen, whatever the reason, and so is its return.
func TestTrustIsLost(t *testing.T) {
	atNoon(t, func(t *testing.T) {
		ca := newCA(t, "ours", 24)
		leaf := newLeaf(t, ca, 1)
		c := fake.NewClientBuilder().WithObjects(secret(t, ca), configuration("")).Build()
		trust, _ := newTrust(t, c)
		reconcileOnce(t, trust)
		if err := trust.Trusts(leaf); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), configuration()); err != nil {
			t.Fatal(err)
		}
		reconcileOnce(t, trust)
		if err := trust.Trusts(leaf); err == nil || !strings.Contains(err.Error(), "there is no MutatingWebhookConfiguration") {
			t.Errorf("without a configuration: %v", err)
		}
		if err := c.Create(t.Context(), configuration("")); err != nil {
			t.Fatal(err)
		}
		reconcileOnce(t, trust)
		if err := trust.Trusts(leaf); err != nil {
			t.Errorf("with the configuration again: %v", err)
		}

		// Emptied, by somebody who also took away the right to write it.
		if err := c.Update(t.Context(), withVersion(t, c, configuration(""))); err != nil {
			t.Fatal(err)
		}
		trust.Writer = interceptor.NewClient(c, interceptor.Funcs{
			Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
				return errors.New("forbidden")
			},
		})
		if _, err := trust.Reconcile(t.Context(), reconcile.Request{}); err == nil {
			t.Error("no error though the caBundle can't be written")
		}
		if err := trust.Trusts(leaf); err == nil || !strings.Contains(err.Error(), "not in the caBundle") {
			t.Errorf("with an empty caBundle: %v", err)
		}
	})
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

// Once the API server trusts us it goes on doing so while we can't look.
func TestTrustStays(t *testing.T) {
	atNoon(t, func(t *testing.T) {
		ca := newCA(t, "ours", 24)
		c := fake.NewClientBuilder().WithObjects(secret(t, ca), configuration("")).Build()
		down := interceptor.NewClient(c, interceptor.Funcs{
			Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
				return errors.New("connection refused")
			},
		})
		trust, _ := newTrust(t, c)
		reconcileOnce(t, trust)
		trust.Reader = down
		if _, err := trust.Reconcile(t.Context(), reconcile.Request{}); err == nil {
			t.Error("no error though nothing could be read")
		}
		if err := trust.Trusts(newLeaf(t, ca, 1)); err != nil {
			t.Errorf("Trusts() = %v", err)
		}
	})
}
