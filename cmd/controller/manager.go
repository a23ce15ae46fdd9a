package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tidelay/tidelay/cmd/internal/daemon"
	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/injection/configfile"
	"github.com/tidelay/tidelay/pkg/injection/gather"
	"github.com/tidelay/tidelay/pkg/missed"
	"github.com/tidelay/tidelay/pkg/networkfault"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// name is the controller's name in Events, and the name of the Lease by which one
// replica leads.
const name = "tidelay-controller"

// The rate limit of the check for missed pods, which is in no hurry.
const (
	checkCallsPerSecond = 20
	checkCallsBurst     = 50
)

// newManager puts the controller together, which waits for the API server until signals
// ends. Nothing runs until the manager does.
func newManager(signals context.Context, o options, health *daemon.Health) (ctrl.Manager, error) {
	config, err := daemon.RESTConfig(o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	kinds := slices.Concat(resolve.Kinds(), gather.Kinds())
	options := o.ManagerOptions(slices.Concat(kinds, networkfault.Kinds()))
	options.Cache.DefaultTransform = networkfault.Trim
	options.LeaderElection = true
	options.LeaderElectionID = name
	options.LeaderElectionNamespace = o.Namespace
	// The process ends as soon as the manager has stopped, so that another replica
	// may lead at once.
	options.LeaderElectionReleaseOnCancel = true
	mgr, err := daemon.NewManager(signals, config, options, health)
	if err != nil {
		return nil, err
	}
	if err := awaitKinds(signals, mgr, health); err != nil {
		return nil, err
	}
	informers := confirm.NewInformers(mgr.GetCache(), kinds)
	file, err := configfile.Open(o.Config, o.ConfigDefaults(version), metrics.Registry, ctrl.Log.WithName("config"))
	if err != nil {
		return nil, err
	}
	if o.missedCheck > 0 {
		if err := addMissedCheck(mgr, o, file, informers, kinds); err != nil {
			return nil, err
		}
	}
	faultInformers := confirm.NewInformers(mgr.GetCache(), networkfault.Kinds())
	if err := addFaults(signals, mgr, file); err != nil {
		return nil, err
	}
	health.Require(daemon.Check{Name: "informers", Check: func(*http.Request) error {
		return errors.Join(informers.Synced(), faultInformers.Synced())
	}})
	if err := daemon.Add(mgr, informers, faultInformers, file); err != nil {
		return nil, err
	}
	return mgr, nil
}

// awaitKinds waits until the kinds of NetworkFaults and NetworkTopologies are installed and may
// be read, as they are by the manifests. A replica without them would carry out nothing, and
// must not lead in the place of an older one that can: during an upgrade the definitions and
// the rights may come later than the program.
func awaitKinds(ctx context.Context, mgr ctrl.Manager, health *daemon.Health) error {
	live, err := daemon.NewClient(mgr, flowcontrol.NewTokenBucketRateLimiter(checkCallsPerSecond, checkCallsBurst))
	if err != nil {
		return err
	}
	err = daemon.Await(ctx, "kinds", health, func(ctx context.Context) error { return confirm.Readable(ctx, live, networkfault.Kinds()) })
	if err != nil {
		return fmt.Errorf("read kinds: %w", err)
	}
	return nil
}

// addMissedCheck has the replica that leads look for missed pods.
func addMissedCheck(mgr ctrl.Manager, o options, file *configfile.File, informers *confirm.Informers, kinds []confirm.Kind) error {
	live, err := daemon.NewClient(mgr, flowcontrol.NewTokenBucketRateLimiter(checkCallsPerSecond, checkCallsBurst))
	if err != nil {
		return err
	}
	// The client has the rate limit, so the Reader needs none. The Reader's counter is
	// not exported, because much of what it counts here is read from the cache.
	reader, err := confirm.NewReader(mgr.GetCache(), tidbClustersFrom{live, mgr.GetCache()}, rate.NewLimiter(rate.Inf, 0), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	namespaces := gather.NewNamespaces(reader)
	images, err := daemon.WatchImage(mgr, file.Current, o.ImageCheck)
	if err != nil {
		return err
	}
	options := missed.Options{
		Interval:   o.missedCheck,
		Ready:      informers.Synced,
		Readable:   func(ctx context.Context) error { return confirm.Readable(ctx, live, kinds) },
		Webhook:    o.WebhookName,
		Service:    types.NamespacedName{Namespace: o.Namespace, Name: o.ServiceName},
		Clusters:   mgr.GetCache(),
		Live:       live,
		Gatherer:   &gather.Gatherer{Config: file.Current, Resolver: resolve.NewResolver(reader), Namespaces: namespaces, Images: images},
		Namespaces: namespaces,
		Events:     mgr.GetEventRecorder(name),
		Metrics:    metrics.Registry,
		Log:        ctrl.Log.WithName("missed"),
	}
	if o.Kubeconfig == "" { // in a cluster
		options.Reach = func(ctx context.Context, caBundle []byte) error {
			return missed.Reach(ctx, options.Service, missed.WebhookPort, caBundle)
		}
	}
	if o.askAgents {
		options.Agents = missed.NewAsker()
	}
	checker, err := missed.New(options)
	if err != nil {
		return err
	}
	return daemon.Add(mgr, checker)
}

// tidbClustersFrom reads TidbClusters from a cache and everything else live. The
// check takes its list of TidbClusters from that cache. A namespace may have many
// that are not opted in, and a live read would confirm each of them at each check.
type tidbClustersFrom struct {
	client.Reader
	cache client.Reader
}

// Get reads an object.
func (r tidbClustersFrom) Get(ctx context.Context, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	if _, ok := object.(*v1alpha1.TidbCluster); ok {
		return r.cache.Get(ctx, key, object, opts...)
	}
	return r.Reader.Get(ctx, key, object, opts...)
}
