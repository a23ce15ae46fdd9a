package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/injection/imagewatch"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// errStarting is why a program is not ready before it has a manager.
var errStarting = errors.New("not started yet")

// cacheSyncTimeout is how long a controller waits for its first lists. The wait tries
// again by itself, so its end would be of use to nobody.
const cacheSyncTimeout = 24 * time.Hour

// attemptInterval is the time between two attempts to make a manager, or at something else
// that a program needs before it can start.
const attemptInterval = 2 * time.Second

// NewManager returns a manager. While that fails, it tries again until ctx ends, and
// health says why. The API server is often away when a program starts, as after a
// node has booted, and kubelet starts a program that ended for it ever more seldom.
func NewManager(ctx context.Context, config *rest.Config, options ctrl.Options, health *Health) (ctrl.Manager, error) {
	var mgr ctrl.Manager
	err := Await(ctx, "API server", health, func(context.Context) (err error) {
		mgr, err = ctrl.NewManager(config, options)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create manager: %w", err)
	}
	return mgr, nil
}

// Await tries something until it works. Meanwhile health and the log say what fails, and
// why. The error is that of ctx, if that ends first.
func Await(ctx context.Context, name string, health *Health, try func(context.Context) error) error {
	logged := ""
	return wait.PollUntilContextCancel(ctx, attemptInterval, true, func(ctx context.Context) (bool, error) { //nolint:wrapcheck // it is ctx's
		err := try(ctx)
		if err == nil {
			return true, nil
		}
		health.Require(Failed(name, err))
		if err.Error() != logged {
			logged = err.Error()
			ctrl.Log.Info("waiting for the "+name, "error", logged)
		}
		return false, nil
	})
}

// ManagerOptions returns the options of a manager that keeps kinds in its cache.
func (o *Options) ManagerOptions(kinds []confirm.Kind) ctrl.Options {
	return ctrl.Options{
		Scheme: NewScheme(),
		Cache: cache.Options{
			ByObject:         confirm.ByObject(kinds),
			DefaultTransform: resolve.Trim,
			// Reading a kind that is not in the list is an error. Otherwise it would
			// start to watch all objects of that kind.
			ReaderFailOnMissingInformer: true,
		},
		Controller:             config.Controller{CacheSyncTimeout: cacheSyncTimeout},
		Metrics:                metricsserver.Options{BindAddress: o.MetricsAddr},
		HealthProbeBindAddress: "0", // Health serves it
	}
}

// WatchImage has mgr see whether the agent's image can be pulled as config says. It
// looks at each interval.
func WatchImage(mgr ctrl.Manager, config func() injection.Config, interval time.Duration) (*imagewatch.Watcher, error) {
	watcher, err := imagewatch.New(imagewatch.Options{
		Config: config, Pods: mgr.GetAPIReader(), Interval: interval, Metrics: metrics.Registry, Log: mgr.GetLogger().WithName("image"),
	})
	if err != nil {
		return nil, err
	}
	return watcher, Add(mgr, watcher)
}

// Add adds runnables to mgr.
func Add(mgr ctrl.Manager, runnables ...manager.Runnable) error {
	for _, r := range runnables {
		if err := mgr.Add(r); err != nil {
			return fmt.Errorf("add %T: %w", r, err)
		}
	}
	return nil
}
