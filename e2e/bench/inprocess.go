package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/injection/gather"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
	"github.com/tidelay/tidelay/pkg/webhook"
)

// deaf takes Events and does nothing.
type deaf struct{}

func (deaf) Eventf(runtime.Object, runtime.Object, string, string, string, string, ...any) {}

// pulled knows nothing against the agent's image.
type pulled struct{}

func (pulled) Problem(string, injection.Config) (none injection.ImageProblem) { return none }

// Injector returns the injector's handler without a process and a network
// around it: its caches are filled from the API server at url, which must be a
// Fleet's, and its live reads have no rate limit. It lasts until ctx ends.
func Injector(ctx context.Context, url string) (http.Handler, error) {
	config := &rest.Config{Host: url, QPS: -1}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("make scheme: %w", err)
	}
	kinds := append(resolve.Kinds(), gather.Kinds()...)
	informed, err := cache.New(config, cache.Options{
		Scheme: scheme, ByObject: confirm.ByObject(kinds), DefaultTransform: resolve.Trim, ReaderFailOnMissingInformer: true,
	})
	if err != nil {
		return nil, fmt.Errorf("make cache: %w", err)
	}
	for _, k := range kinds {
		if k.Optional {
			continue
		}
		if _, err := informed.GetInformer(ctx, k.Object, cache.BlockUntilSynced(false)); err != nil {
			return nil, fmt.Errorf("watch %T: %w", k.Object, err)
		}
	}
	go func() { _ = informed.Start(ctx) }()
	if !informed.WaitForCacheSync(ctx) {
		return nil, errors.New("the caches have not synced")
	}
	live, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	registry := prometheus.NewRegistry()
	reader, err := confirm.NewReader(informed, live, rate.NewLimiter(rate.Inf, 0), registry)
	if err != nil {
		return nil, err
	}
	settings := injection.Config{Image: "tidelay/agent:bench", PullPolicy: corev1.PullIfNotPresent, Resources: injection.DefaultResources(), Version: "bench"}
	injector, err := webhook.New(webhook.Options{
		Decoder: admission.NewDecoder(scheme),
		Gatherer: &gather.Gatherer{
			Config: func() injection.Config { return settings }, Resolver: resolve.NewResolver(reader), Namespaces: gather.NewNamespaces(reader), Images: pulled{},
		},
		Pods: live, Limit: rate.NewLimiter(rate.Inf, 0), Events: deaf{}, Metrics: registry,
	})
	if err != nil {
		return nil, err
	}
	go func() { _ = injector.Start(ctx) }()
	return injector.Handler(), nil
}
