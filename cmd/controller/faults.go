package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tidelay/tidelay/cmd/internal/daemon"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/injection/configfile"
	"github.com/tidelay/tidelay/pkg/networkfault"
	"github.com/tidelay/tidelay/pkg/networkfault/keeper"
	"github.com/tidelay/tidelay/pkg/networkfault/surveyor"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// The rate limit of writing statuses, and of the few live reads. A thousand TidbClusters
// whose faults start at once are served within seconds.
const (
	faultCallsPerSecond = 300
	faultCallsBurst     = 600
)

// addFaults has the replica that leads carry out NetworkFaults and NetworkTopologies, until
// ctx ends.
func addFaults(ctx context.Context, mgr ctrl.Manager, file *configfile.File) error {
	live, err := daemon.NewClient(mgr, flowcontrol.NewTokenBucketRateLimiter(faultCallsPerSecond, faultCallsBurst))
	if err != nil {
		return err
	}
	reader, err := confirm.NewReader(mgr.GetCache(), live, rate.NewLimiter(rate.Inf, 0), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	changes := &networkfault.Changes{}
	recorder := mgr.GetEventRecorder(name)
	putRight := networkfault.PutRight{Reader: mgr.GetCache(), Events: recorder}
	tokens := networkfault.NewTokens(live, file.Current)
	// Each tells the other: what was put right is measured anew, and what is measured to be
	// wrong is looked at. Neither does so before it runs.
	var agents *keeper.Keeper
	measurements, err := surveyor.New(surveyor.Options{
		Agents:  surveyor.NewAgents(tokens.Of),
		Changed: changes.Add,
		Doubt:   func(cluster types.NamespacedName, pods ...string) { agents.Doubt(cluster, pods...) },
		Metrics: metrics.Registry,
		Log:     ctrl.Log.WithName("measurements"),
	})
	if err != nil {
		return err
	}
	agents, err = keeper.New(keeper.Options{
		Agents:  keeper.NewAgents(tokens.Of),
		Changed: changes.Add,
		PutRight: func(cluster types.NamespacedName, target keeper.Target, changes []api.Change) {
			measurements.PutRight(cluster, target.Pod.Name)
			putRight.Tell(ctx, cluster, target, changes)
		},
		Metrics: metrics.Registry,
		Log:     ctrl.Log.WithName("agents"),
	})
	if err != nil {
		return err
	}
	reconciler, err := networkfault.New(networkfault.Options{
		Reader:   mgr.GetCache(),
		Status:   live.Status(),
		Resolver: resolve.NewResolver(reader),
		Keeper:   agents,
		Surveyor: measurements,
		Events:   recorder,
		Metrics:  metrics.Registry,
		Log:      ctrl.Log.WithName("faults"),
	})
	if err != nil {
		return err
	}
	if err := networkfault.AddToManager(mgr, reconciler, changes); err != nil {
		return err
	}
	return daemon.Add(mgr, manager.RunnableFunc(agents.Run), manager.RunnableFunc(measurements.Run))
}
