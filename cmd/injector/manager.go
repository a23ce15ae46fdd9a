package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/webhook"
	"github.com/tidelay/tidelay/pkg/webhook/certificate"
	"github.com/tidelay/tidelay/pkg/webhook/configfile"
)

// shutdownTimeout is how long requests under way may take once the drain is
// over. With the default drain it fits into the pod's 30 s.
const shutdownTimeout = 15 * time.Second

// newManager puts the injector together. Nothing runs until the manager does.
func newManager(o options, d *drain) (ctrl.Manager, error) {
	config, err := restConfig(o.kubeconfig)
	if err != nil {
		return nil, err
	}
	secret := types.NamespacedName{Namespace: o.namespace, Name: certificate.SecretName(o.webhookName)}
	trust := &certificate.Trust{Webhook: o.webhookName, Secret: secret}
	source := certificate.NewSource(config, trust, o.serviceName, ctrl.Log.WithName("certificate"))
	kinds := slices.Concat(tidbcluster.Kinds(), webhook.Kinds())

	mgr, err := ctrl.NewManager(config, managerOptions(o, source, slices.Concat(kinds, trust.Kinds())))
	if err != nil {
		return nil, fmt.Errorf("create manager: %w", err)
	}
	trust.Reader, trust.Writer = mgr.GetAPIReader(), mgr.GetClient()
	if err := trust.SetupWithManager(mgr); err != nil {
		return nil, err
	}
	informers := confirm.NewInformers(mgr.GetCache(), kinds)
	file, err := configfile.Open(o.config, o.defaults(), metrics.Registry, ctrl.Log.WithName("config"))
	if err != nil {
		return nil, err
	}
	if err := addWebhook(mgr, file, d); err != nil {
		return nil, err
	}
	if err := addMissedCheck(mgr, o, file, informers); err != nil {
		return nil, err
	}
	// In this order, so that the first failure is the root of the others.
	h := health{log: mgr.GetLogger(), checks: []check{
		{"drain", d.ready},
		{"certificate", source.Ready},
		{"trust", trust.Ready},
		{"informers", func(*http.Request) error { return informers.Synced() }},
		{"webhook", mgr.GetWebhookServer().StartedChecker()},
	}}
	for _, r := range []manager.Runnable{h.server(o.healthAddr), source, informers, file} {
		if err := mgr.Add(r); err != nil {
			return nil, fmt.Errorf("add %T: %w", r, err)
		}
	}
	return mgr, nil
}

func managerOptions(o options, source *certificate.Source, kinds []confirm.Kind) ctrl.Options {
	return ctrl.Options{
		Scheme: newScheme(),
		Cache: cache.Options{
			ByObject:         confirm.ByObject(kinds),
			DefaultTransform: tidbcluster.Trim,
			// An informer that nobody declared is an error, not a surprise.
			ReaderFailOnMissingInformer: true,
		},
		Metrics:                 metricsserver.Options{BindAddress: o.metricsAddr},
		HealthProbeBindAddress:  "0", // see health
		GracefulShutdownTimeout: new(shutdownTimeout),
		WebhookServer: ctrlwebhook.NewServer(ctrlwebhook.Options{
			Port:    o.webhookPort,
			TLSOpts: []func(*tls.Config){source.ConfigureTLS},
		}),
	}
}

func addWebhook(mgr ctrl.Manager, file *configfile.File, d *drain) error {
	live, err := newClient(mgr, flowcontrol.NewFakeAlwaysRateLimiter())
	if err != nil {
		return err
	}
	limit := rate.NewLimiter(liveReadsPerSecond, liveReadsBurst)
	reader, err := confirm.NewReader(mgr.GetCache(), live, limit, metrics.Registry)
	if err != nil {
		return err
	}
	injector, err := webhook.New(webhook.Options{
		Config:     file.Current,
		Decoder:    admission.NewDecoder(mgr.GetScheme()),
		Resolver:   tidbcluster.NewResolver(reader),
		Namespaces: webhook.NewNamespaces(reader),
		Events:     mgr.GetEventRecorder("tidelay-injector"),
		Metrics:    metrics.Registry,
	})
	if err != nil {
		return err
	}
	mgr.GetWebhookServer().Register(webhook.Path, d.wrap(injector.Handler()))
	return nil
}
