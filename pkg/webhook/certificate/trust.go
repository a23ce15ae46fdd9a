package certificate

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/tidelay/tidelay/pkg/confirm"
)

// caKey is the key of the CA's certificate in its Secret.
const caKey = "ca.crt"

// fieldOwner owns the caBundle in server-side apply, and nothing else.
const fieldOwner = client.FieldOwner("tidelay-injector")

// Trust keeps the CA in the Secret in the caBundle of a
// MutatingWebhookConfiguration, whoever changes either, and behind it the CAs
// of before as long as they are valid.
type Trust struct {
	// Webhook names the MutatingWebhookConfiguration.
	Webhook string
	// Secret names the CA's Secret.
	Secret types.NamespacedName
	// Reader must read live: a caBundle is replaced on the word of what it
	// returns.
	Reader client.Reader
	// Writer patches the MutatingWebhookConfiguration.
	Writer client.Writer

	// trusted are the CAs in the caBundle; nil until the first is.
	trusted atomic.Pointer[[]trustedCA]
}

// trustedCA is a CA, and when we first saw or wrote it in the caBundle.
type trustedCA struct {
	certificate *x509.Certificate
	since       time.Time
}

// Kinds lists what t watches: two objects, without their contents.
func (t *Trust) Kinds() []confirm.Kind {
	return []confirm.Kind{
		{
			Object: &admissionregistrationv1.MutatingWebhookConfiguration{},
			Cache:  &cache.ByObject{Field: named(t.Webhook), Transform: cache.TransformStripManagedFields()},
		},
		{
			Object: &corev1.Secret{},
			Cache: &cache.ByObject{
				Namespaces: map[string]cache.Config{t.Secret.Namespace: {FieldSelector: named(t.Secret.Name)}},
				Transform:  cache.TransformStripManagedFields(),
			},
		},
	}
}

// SetupWithManager adds t to mgr.
func (t *Trust) SetupWithManager(mgr ctrl.Manager) error {
	enqueue := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: t.Webhook}}}
	})
	err := ctrl.NewControllerManagedBy(mgr).
		Named("trust").
		WatchesMetadata(&admissionregistrationv1.MutatingWebhookConfiguration{}, enqueue).
		WatchesMetadata(&corev1.Secret{}, enqueue).
		WithOptions(controller.Options{NeedLeaderElection: new(false)}).
		Complete(t)
	if err != nil {
		return fmt.Errorf("set up trust controller: %w", err)
	}
	return nil
}

// Reconcile writes the CA where it is missing. An object that does not exist
// yet is waited for: its creation is an event.
func (t *Trust) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	secret := &corev1.Secret{}
	if err := t.Reader.Get(ctx, t.Secret, secret); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("read Secret %s: %w", t.Secret, err))
	}
	ca := secret.Data[caKey]
	if len(ca) == 0 {
		return reconcile.Result{}, nil
	}
	config := &admissionregistrationv1.MutatingWebhookConfiguration{}
	if err := t.Reader.Get(ctx, types.NamespacedName{Name: t.Webhook}, config); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("read MutatingWebhookConfiguration %s: %w", t.Webhook, err))
	}
	bundle := bundle(ca, present(config), time.Now())
	switch err := t.write(ctx, config, bundle); {
	case apierrors.IsConflict(err):
		// Whoever was faster has caused an event, which brings us back here.
		return reconcile.Result{}, nil
	case err != nil:
		return reconcile.Result{}, err
	}
	t.remember(bundle, time.Now())
	return reconcile.Result{}, nil
}

// present is the first caBundle that config has.
func present(config *admissionregistrationv1.MutatingWebhookConfiguration) []byte {
	for _, w := range config.Webhooks {
		if len(w.ClientConfig.CABundle) > 0 {
			return w.ClientConfig.CABundle
		}
	}
	return nil
}

// remember notes the CAs of a caBundle, and keeps since when those that were
// there before are.
func (t *Trust) remember(bundle []byte, now time.Time) {
	all := []trustedCA{}
	for _, c := range parse(bundle) {
		one := trustedCA{certificate: c, since: now}
		if before := t.trusted.Load(); before != nil {
			if i := slices.IndexFunc(*before, func(b trustedCA) bool { return b.certificate.Equal(c) }); i >= 0 {
				one.since = (*before)[i].since
			}
		}
		all = append(all, one)
	}
	t.trusted.Store(&all)
}

// Since returns since when the CA that signed leaf is in the caBundle, as far
// as this process knows.
func (t *Trust) Since(leaf *x509.Certificate) (since time.Time, trusted bool) {
	all := t.trusted.Load()
	if all == nil {
		return time.Time{}, false
	}
	for _, ca := range *all {
		if leaf.CheckSignatureFrom(ca.certificate) == nil {
			return ca.since, true
		}
	}
	return time.Time{}, false
}

// write sets the caBundle of every webhook of config, and no other field.
func (t *Trust) write(ctx context.Context, config *admissionregistrationv1.MutatingWebhookConfiguration, ca []byte) error {
	before := config.DeepCopy()
	changed := false
	for i := range config.Webhooks {
		bundle := &config.Webhooks[i].ClientConfig.CABundle
		if !bytes.Equal(*bundle, ca) {
			*bundle, changed = ca, true
		}
	}
	if !changed {
		return nil
	}
	patch := client.StrategicMergeFrom(before, client.MergeFromWithOptimisticLock{})
	if err := t.Writer.Patch(ctx, config, patch, fieldOwner); err != nil {
		return fmt.Errorf("patch MutatingWebhookConfiguration %s: %w", t.Webhook, err)
	}
	logf.FromContext(ctx).Info("CA written to MutatingWebhookConfiguration", "webhook", t.Webhook)
	return nil
}

// Ready returns nil once the API server was told to trust our CA. It is a
// healthz.Checker.
func (t *Trust) Ready(*http.Request) error {
	if t.trusted.Load() == nil {
		return fmt.Errorf("the CA is not in MutatingWebhookConfiguration %s yet", t.Webhook)
	}
	return nil
}

func named(name string) fields.Selector {
	return fields.OneTermEqualSelector(metav1.ObjectNameField, name)
}
