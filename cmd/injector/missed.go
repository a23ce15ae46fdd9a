package main

import (
	"context"
	"fmt"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/missed"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/webhook"
	"github.com/tidelay/tidelay/pkg/webhook/configfile"
)

// The rate limit of the check for missed pods, which is in no hurry.
const (
	checksPerSecond = 20
	checksBurst     = 50
)

// addMissedCheck has one replica look for the running pods that were missed.
func addMissedCheck(mgr ctrl.Manager, o options, file *configfile.File, informers *confirm.Informers) error {
	if o.missedCheck == 0 {
		return nil
	}
	live, err := newClient(mgr, flowcontrol.NewTokenBucketRateLimiter(checksPerSecond, checksBurst))
	if err != nil {
		return err
	}
	reader, err := confirm.NewReader(mgr.GetCache(), clustersFrom{live, mgr.GetCache()}, rate.NewLimiter(rate.Inf, 0), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	checker, err := missed.New(missed.Options{
		Interval:   o.missedCheck,
		Ready:      informers.Synced,
		Config:     file.Current,
		Webhook:    o.webhookName,
		Clusters:   mgr.GetCache(),
		Live:       live,
		Resolver:   tidbcluster.NewResolver(reader),
		Namespaces: webhook.NewNamespaces(reader),
		Events:     mgr.GetEventRecorder("tidelay-injector"),
		Metrics:    metrics.Registry,
		Log:        ctrl.Log.WithName("missed"),
	})
	if err != nil {
		return err
	}
	election, err := newLeader(mgr.GetConfig(), types.NamespacedName{Namespace: o.namespace, Name: o.webhookName}, checker.Run)
	if err != nil {
		return err
	}
	if err := mgr.Add(election); err != nil {
		return fmt.Errorf("add %T: %w", election, err)
	}
	return nil
}

// clustersFrom reads TidbClusters from a cache, where the check has them from,
// and all else live: a namespace may have many clusters that are not opted in,
// and each would be confirmed again and again.
type clustersFrom struct {
	client.Reader
	cache client.Reader
}

func (c clustersFrom) Get(ctx context.Context, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	if _, ok := object.(*v1alpha1.TidbCluster); ok {
		return c.cache.Get(ctx, key, object, opts...)
	}
	return c.Reader.Get(ctx, key, object, opts...)
}
