package main

import (
	"context"
	"crypto/tls"
	"net/http"
	"slices"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/tidelay/tidelay/cmd/internal/daemon"
	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/injection/configfile"
	"github.com/tidelay/tidelay/pkg/injection/gather"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
	"github.com/tidelay/tidelay/pkg/webhook"
	"github.com/tidelay/tidelay/pkg/webhook/certificate"
)

// shutdownTimeout is how long requests under way may take after the drain. With the
// default drain both fit into the pod's 30 s.
const shutdownTimeout = 15 * time.Second

// The rate limit of live reads. The burst is a fleet of TidbClusters created at
// once, before the informers have heard of any.
const (
	liveReadsPerSecond = 200
	liveReadsBurst     = 400
)

// eventSource is the injector's name in Events.
const eventSource = "tidelay-injector"

// newManager puts the injector together, which waits for the API server until signals
// ends. Nothing runs until the manager does.
func newManager(signals context.Context, o options, d *drain, health *daemon.Health) (ctrl.Manager, error) {
	config, err := daemon.RESTConfig(o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	secret := types.NamespacedName{Namespace: o.Namespace, Name: certificate.SecretName(o.WebhookName)}
	trust, err := certificate.NewTrust(o.WebhookName, secret, metrics.Registry)
	if err != nil {
		return nil, err
	}
	source := certificate.NewSource(config, trust, o.ServiceName, ctrl.Log.WithName("certificate"))
	kinds := slices.Concat(resolve.Kinds(), gather.Kinds())

	options := o.ManagerOptions(slices.Concat(kinds, trust.Kinds()))
	options.GracefulShutdownTimeout = new(shutdownTimeout)
	options.WebhookServer = ctrlwebhook.NewServer(ctrlwebhook.Options{
		Port:    o.webhookPort,
		TLSOpts: []func(*tls.Config){source.ConfigureTLS},
	})
	mgr, err := daemon.NewManager(signals, config, options, health)
	if err != nil {
		return nil, err
	}
	trust.Reader, trust.Writer, trust.Events = mgr.GetAPIReader(), mgr.GetClient(), mgr.GetEventRecorder(eventSource)
	if err := trust.SetupWithManager(mgr); err != nil {
		return nil, err
	}
	informers := confirm.NewInformers(mgr.GetCache(), kinds)
	access := &confirm.Access{Live: mgr.GetAPIReader(), Kinds: kinds}
	forwarding, err := addForwarding(mgr, o, trust)
	if err != nil {
		return nil, err
	}
	file, err := configfile.Open(o.Config, o.ConfigDefaults(version), metrics.Registry, ctrl.Log.WithName("config"))
	if err != nil {
		return nil, err
	}
	if err := addWebhook(mgr, file, o.ImageCheck, forwarding, d); err != nil {
		return nil, err
	}
	// In this order, so that the first failure is the cause of the others.
	health.Require(
		daemon.Check{Name: "drain", Check: d.ready},
		daemon.Check{Name: "certificate", Check: source.Ready},
		daemon.Check{Name: "trust", Check: source.Trusted},
		daemon.Check{Name: "informers", Check: func(*http.Request) error { return informers.Synced() }},
		daemon.Check{Name: "access", Check: func(*http.Request) error { return access.Allowed() }},
		daemon.Check{Name: "replicas", Check: func(*http.Request) error { return forwarding.synced() }},
		daemon.Check{Name: "webhook", Check: mgr.GetWebhookServer().StartedChecker()},
	)
	if err := daemon.Add(mgr, source, informers, access, file); err != nil {
		return nil, err
	}
	return mgr, nil
}

// addWebhook has mgr serve the webhook.
func addWebhook(mgr ctrl.Manager, file *configfile.File, imageCheck time.Duration, forwarding forwarding, d *drain) error {
	// The rate limit is the Reader's: client-go's would hold reads back for longer
	// than an admission may take.
	live, err := daemon.NewClient(mgr, flowcontrol.NewFakeAlwaysRateLimiter())
	if err != nil {
		return err
	}
	limit := rate.NewLimiter(liveReadsPerSecond, liveReadsBurst)
	reader, err := confirm.NewReader(mgr.GetCache(), live, limit, metrics.Registry)
	if err != nil {
		return err
	}
	images, err := daemon.WatchImage(mgr, file.Current, imageCheck)
	if err != nil {
		return err
	}
	injector, err := webhook.New(webhook.Options{
		Decoder: admission.NewDecoder(mgr.GetScheme()),
		Gatherer: &gather.Gatherer{
			Config: file.Current, Resolver: resolve.NewResolver(reader), Namespaces: gather.NewNamespaces(reader), Images: images,
		},
		Pods:    live,
		Limit:   limit,
		Events:  mgr.GetEventRecorder(eventSource),
		Metrics: metrics.Registry,
	})
	if err != nil {
		return err
	}
	if err := daemon.Add(mgr, injector); err != nil {
		return err
	}
	mgr.GetWebhookServer().Register(webhook.Path, d.wrap(injector.Handler(forwarding.wrap)))
	return nil
}
