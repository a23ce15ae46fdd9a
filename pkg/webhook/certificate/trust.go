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

// fieldOwner is the owner of the caBundle, and of no other field, in server-side apply.
const fieldOwner = client.FieldOwner("tidelay-injector")

// Trust writes the CA into the caBundle of a MutatingWebhookConfiguration, and keeps
// it there whoever changes the CA's Secret or the caBundle. Old CAs follow it in the
// caBundle for as long as they are valid (see bundle).
type Trust struct {
	// Webhook is the name of the MutatingWebhookConfiguration.
	Webhook string
	// Secret is the CA's Secret.
	Secret types.NamespacedName
	// Reader must read live, because what it returns replaces a caBundle.
	Reader client.Reader
	// Writer patches the MutatingWebhookConfiguration.
	Writer client.Writer

	// trusted are the CAs in the caBundle. It is nil until the first is there.
	trusted atomic.Pointer[[]trustedCA]
}

// trustedCA is a CA in the caBundle.
type trustedCA struct {
	certificate *x509.Certificate
	// since is when this process first saw or wrote it there.
	since time.Time
}

// Kinds lists the kinds that t watches: one object of each, without its contents.
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

// Reconcile writes the CA to the caBundle if it is not there. If the Secret or the
// configuration does not exist yet, Reconcile does nothing: it is called again when
// the object is created.
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
		// Another replica was faster. Its change is an event, which calls this again.
		return reconcile.Result{}, nil
	case err != nil:
		return reconcile.Result{}, err
	}
	t.remember(bundle, time.Now())
	return reconcile.Result{}, nil
}

// present returns the first caBundle in config, or nothing if it has none.
func present(config *admissionregistrationv1.MutatingWebhookConfiguration) []byte {
	for _, w := range config.Webhooks {
		if len(w.ClientConfig.CABundle) > 0 {
			return w.ClientConfig.CABundle
		}
	}
	return nil
}

// remember makes the CAs in bundle the trusted ones. A CA that was trusted before keeps
// the time since when.
func (t *Trust) remember(bundle []byte, now time.Time) {
	var before []trustedCA
	if trusted := t.trusted.Load(); trusted != nil {
		before = *trusted
	}
	all := []trustedCA{}
	for _, certificate := range parse(bundle) {
		since := now
		if i := slices.IndexFunc(before, func(b trustedCA) bool { return b.certificate.Equal(certificate) }); i >= 0 {
			since = before[i].since
		}
		all = append(all, trustedCA{certificate, since})
	}
	t.trusted.Store(&all)
}

// Since returns the time since when the CA that signed leaf is in the caBundle, as far
// as this process knows. trusted is false if it is not there.
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

// CAs returns the CAs in the caBundle, for a client of the webhook.
func (t *Trust) CAs() *x509.CertPool {
	pool := x509.NewCertPool()
	if trusted := t.trusted.Load(); trusted != nil {
		for _, ca := range *trusted {
			pool.AddCert(ca.certificate)
		}
	}
	return pool
}

// write sets the caBundle of every webhook in config, and changes no other field.
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

// Ready returns nil as soon as the CA is in the caBundle. It is a healthz.Checker.
func (t *Trust) Ready(*http.Request) error {
	if t.trusted.Load() == nil {
		return fmt.Errorf("the CA is not in MutatingWebhookConfiguration %s yet", t.Webhook)
	}
	return nil
}

func named(name string) fields.Selector {
	return fields.OneTermEqualSelector(metav1.ObjectNameField, name)
}
