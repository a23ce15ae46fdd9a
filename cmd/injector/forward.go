package main

import (
	"fmt"
	"net/http"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tidelay/tidelay/cmd/internal/daemon"
	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/webhook/certificate"
	"github.com/tidelay/tidelay/pkg/webhook/forward"
)

// forwarding passes admissions on to newer replicas.
type forwarding struct {
	wrap func(http.Handler) http.Handler
	// synced returns nil when the other replicas are known.
	synced func() error
}

// addForwarding has mgr keep the injector's replicas in a cache. An injector that is not
// told the name of its pod is not part of a rollout, and passes nothing on.
func addForwarding(mgr ctrl.Manager, o options, trust *certificate.Trust) (forwarding, error) {
	if o.podName == "" {
		return forwarding{
			wrap:   func(next http.Handler) http.Handler { return next },
			synced: func() error { return nil },
		}, nil
	}
	cacheOptions := forward.CacheOptions(mgr.GetScheme(), o.Namespace)
	cacheOptions.HTTPClient, cacheOptions.Mapper = mgr.GetHTTPClient(), mgr.GetRESTMapper()
	own, err := cache.New(mgr.GetConfig(), cacheOptions)
	if err != nil {
		return forwarding{}, fmt.Errorf("make cache of the injector's replicas: %w", err)
	}
	forwarder, err := forward.New(forward.Options{
		Replicas:   &forward.Replicas{Cache: own, Namespace: o.Namespace, Self: o.podName},
		CAs:        trust.CAs,
		ServerName: certificate.ServerName(o.ServiceName, o.Namespace),
		Metrics:    metrics.Registry,
	})
	if err != nil {
		return forwarding{}, err
	}
	informers := confirm.NewInformers(own, forward.Kinds(o.Namespace))
	return forwarding{wrap: forwarder.Wrap, synced: informers.Synced}, daemon.Add(mgr, own, informers)
}
