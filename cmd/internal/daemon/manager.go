package daemon

import (
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

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
		Metrics:                metricsserver.Options{BindAddress: o.MetricsAddr},
		HealthProbeBindAddress: "0", // Health serves it
	}
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
