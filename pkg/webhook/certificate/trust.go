package certificate

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/tidelay/tidelay/pkg/cabundle"
	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// fieldOwner is the owner of the caBundle, and of no other field, in server-side apply.
const fieldOwner = client.FieldOwner("tidelay-injector")

// Trust writes the CA into the caBundle of a MutatingWebhookConfiguration, and keeps
// it there whoever changes the CA's Secret or the caBundle. Old CAs follow it in the
// caBundle for as long as they are valid (see bundle).
//
// A Secret without a usable CA is told, and never written: the caBundle keeps the CA
// that signed what the replicas serve.
type Trust struct {
	// Webhook is the name of the MutatingWebhookConfiguration.
	Webhook string
	// Secret is the CA's Secret.
	Secret types.NamespacedName
	// Reader must read live, because what it returns replaces a caBundle.
	Reader client.Reader
	// Writer patches the MutatingWebhookConfiguration.
	Writer client.Writer
	// Events receives an Event on the Secret when its CA is not usable.
	Events events.EventRecorder

	// usable is 0 while the Secret has a CA that is not usable.
	usable prometheus.Gauge
	// problem is why the CA in the Secret is not usable, nil if it is or if there is no
	// Secret.
	problem atomic.Pointer[string]
	// last is the last usable CA, nil before the first. Only Reconcile uses it.
	last *x509.Certificate
	// missing is why there is no caBundle, nil if there is one.
	missing atomic.Pointer[string]
	// trusted are the CAs in the caBundle.
	trusted atomic.Pointer[[]trustedCA]
}

// NewTrust returns a Trust without its clients, which the caller sets. It fails if the
// metric can't be registered.
func NewTrust(webhook string, secret types.NamespacedName, registry prometheus.Registerer) (*Trust, error) {
	t := &Trust{Webhook: webhook, Secret: secret, usable: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tidelay_ca_usable",
		Help: "1, or 0 while the CA in the Secret can't sign or can't be trusted, so that the one before stays in use.",
	})}
	t.usable.Set(1)
	if err := registry.Register(t.usable); err != nil {
		return nil, fmt.Errorf("register tidelay_ca_usable: %w", err)
	}
	return t, nil
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

// checkInterval is the time after which the caBundle and the Secret are looked at again
// though nobody has changed them: a CA expires by itself, and a watch can be lost.
const checkInterval = time.Minute

// Reconcile writes the CA to the caBundle if it is not there. If the Secret or the
// configuration does not exist yet, Reconcile writes nothing: it is called again when
// the object is created.
func (t *Trust) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	again := reconcile.Result{RequeueAfter: checkInterval}
	if err := t.readCA(ctx); err != nil {
		return reconcile.Result{}, err
	}
	config := &admissionregistrationv1.MutatingWebhookConfiguration{}
	err := t.Reader.Get(ctx, types.NamespacedName{Name: t.Webhook}, config)
	switch {
	case apierrors.IsNotFound(err):
		t.remember(nil, time.Now())
		t.missing.Store(new("there is no MutatingWebhookConfiguration " + t.Webhook))
		return again, nil
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("read MutatingWebhookConfiguration %s: %w", t.Webhook, err)
	case len(config.Webhooks) == 0:
		t.remember(nil, time.Now())
		t.missing.Store(new("MutatingWebhookConfiguration " + t.Webhook + " has no webhooks"))
		return again, nil
	}
	t.missing.Store(nil)
	t.remember(present(config), time.Now())
	if t.last == nil {
		return again, nil
	}
	bundle := bundle(t.last, present(config), time.Now())
	switch err := t.write(ctx, config, bundle); {
	case apierrors.IsConflict(err):
		// Another replica was faster. Its change is an event, which calls this again.
		return again, nil
	case err != nil:
		return reconcile.Result{}, err
	}
	t.remember(bundle, time.Now())
	return again, nil
}

// readCA reads the CA from the Secret, and remembers it if it is usable. Otherwise the
// last one that was stays.
func (t *Trust) readCA(ctx context.Context) error {
	secret := &corev1.Secret{}
	err := t.Reader.Get(ctx, t.Secret, secret)
	if apierrors.IsNotFound(err) {
		t.report(ctx, nil)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read Secret %s: %w", t.Secret, err)
	}
	ca, err := usableCA(secret, time.Now())
	if err == nil {
		t.last = ca
	}
	t.report(ctx, err)
	return nil
}

// report reports why the CA in the Secret is not usable, nil if it is: in the metric, by
// Problem, and once in the log and in an Event.
func (t *Trust) report(ctx context.Context, problem error) {
	before := t.problem.Load()
	if problem == nil {
		t.usable.Set(1)
		if t.problem.Store(nil); before != nil {
			logf.FromContext(ctx).Info("the CA in the Secret is usable again", "secret", t.Secret)
		}
		return
	}
	text := problem.Error()
	t.usable.Set(0)
	t.problem.Store(&text)
	if before != nil && *before == text {
		return
	}
	logf.FromContext(ctx).Error(problem, "the CA in the Secret is not usable, so the caBundle stays as it is", "secret", t.Secret)
	regarding := &corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: t.Secret.Namespace, Name: t.Secret.Name}
	t.Events.Eventf(regarding, nil, corev1.EventTypeWarning, "ca_unusable", "Trust", "%s",
		tidbcluster.EventNote(text+"; the caBundle stays as it is. Delete the Secret, and the injector makes a new CA"))
}

// Problem returns why the CA in the Secret is not usable, or nil.
func (t *Trust) Problem() error {
	if problem := t.problem.Load(); problem != nil {
		return fmt.Errorf("secret %s: %s", t.Secret, *problem)
	}
	return nil
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
	for _, certificate := range cabundle.Parse(bundle) {
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

// Trusts returns nil if the API server trusts a leaf, as far as this process knows. It
// goes on with what it knows while the API server does not answer.
func (t *Trust) Trusts(leaf *x509.Certificate) error {
	if missing := t.missing.Load(); missing != nil {
		return errors.New(*missing)
	}
	if _, trusted := t.Since(leaf); !trusted {
		return fmt.Errorf("the CA of the serving certificate is not in the caBundle of MutatingWebhookConfiguration %s", t.Webhook)
	}
	return nil
}

func named(name string) fields.Selector {
	return fields.OneTermEqualSelector(metav1.ObjectNameField, name)
}
