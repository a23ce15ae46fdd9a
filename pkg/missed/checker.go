// Package missed finds the running pods that a TidbCluster asks Tidelay to
// inject and that carry no agent: those made before the annotation, or while
// the injector was away. What would be decided about a pod now is decided by
// the same function as at its admission (webhook.Config.Decide).
//
// What it finds is told in three places, and nothing is restarted:
//
//   - the condition TidelayInjected of the TidbCluster: True when every pod that
//     is asked for carries the agent, False with the reason "missed", or with
//     the reason that keeps a pod out, such as "host_network", and Unknown while
//     there is no pod;
//   - an Event on the TidbCluster when the first of its pods is found missed;
//   - the metric tidelay_missed_pods{namespace,tidbcluster}.
package missed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/webhook"
)

// resolver tells which TidbCluster a pod belongs to; see tidbcluster.Resolver.
type resolver interface {
	Resolve(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, error)
}

// namespaces tells the Pod Security level a namespace enforces, and its labels;
// see webhook.Namespaces.
type namespaces interface {
	EnforcedLevel(ctx context.Context, namespace string) (string, error)
	Labels(ctx context.Context, namespace string) (map[string]string, error)
}

// Options is what a Checker is made of. All fields are required.
type Options struct {
	// Interval is the time between two checks of everything.
	Interval time.Duration
	// Ready returns an error while there is nothing to check yet.
	Ready func() error
	// Config returns what is injected now.
	Config func() webhook.Config
	// Webhook names the MutatingWebhookConfiguration: in a namespace that it
	// leaves out no pod is injected.
	Webhook string
	// Clusters has the TidbClusters, as tidbcluster.Trim leaves them.
	Clusters client.Reader
	// Live lists pods, and reads and writes TidbClusters. Its rate limit is
	// what a check may cost the API server.
	Live       client.Client
	Resolver   resolver
	Namespaces namespaces
	// Events receives the Events for TidbClusters.
	Events events.EventRecorder
	// Metrics is where the gauge is registered.
	Metrics prometheus.Registerer
	// Log is told what could not be checked.
	Log logr.Logger
}

// Checker compares the running pods with what is asked for.
type Checker struct {
	options Options
	missed  *prometheus.GaugeVec
	told    map[types.UID]told
}

// told is what was said last about a TidbCluster.
type told struct {
	cluster types.NamespacedName
	missed  int
}

// New returns a Checker. It fails if its metric cannot be registered.
func New(o Options) (*Checker, error) {
	c := &Checker{options: o, missed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tidelay_missed_pods",
		Help: "Running pods that would carry the agent if they were made now, and do not.",
	}, []string{"namespace", "tidbcluster"})}
	if err := o.Metrics.Register(c.missed); err != nil {
		return nil, fmt.Errorf("register tidelay_missed_pods: %w", err)
	}
	return c, nil
}

// Run checks until ctx ends. Only one replica at a time should run it: then
// each thing is told once.
func (c *Checker) Run(ctx context.Context) {
	c.told = map[types.UID]told{}
	defer c.missed.Reset()
	ready := func(context.Context) (bool, error) { return c.options.Ready() == nil, nil }
	// It ends in an error only if ctx does.
	_ = wait.PollUntilContextCancel(ctx, time.Second, true, ready)
	wait.UntilWithContext(ctx, c.check, c.options.Interval)
}

// check looks at every TidbCluster once.
func (c *Checker) check(ctx context.Context) {
	var clusters v1alpha1.TidbClusterList
	if err := c.options.Clusters.List(ctx, &clusters); err != nil {
		c.problem(ctx, err, "TidbClusters not listed")
		return
	}
	reaches, err := c.reach(ctx)
	if err != nil {
		c.problem(ctx, err, "webhook not read")
		return
	}
	asking, others := divide(clusters.Items)
	c.forget(asking)
	for _, cluster := range others {
		if err := c.write(ctx, cluster, nil); err != nil {
			c.problem(ctx, err, "condition not taken away")
		}
	}
	for namespace, clusters := range asking {
		reports, err := c.survey(ctx, namespace, clusters, reaches)
		if err != nil {
			c.problem(ctx, err, "pods not checked", "namespace", namespace)
			continue
		}
		for i, cluster := range clusters {
			if err := c.tell(ctx, cluster, reports[i]); err != nil {
				c.problem(ctx, err, "condition not written")
			}
		}
	}
}

// divide returns the clusters that ask to be injected, by namespace, and those
// that no longer do and still have our condition.
func divide(clusters []v1alpha1.TidbCluster) (asking map[string][]*v1alpha1.TidbCluster, others []*v1alpha1.TidbCluster) {
	asking = map[string][]*v1alpha1.TidbCluster{}
	for i := range clusters {
		cluster := &clusters[i]
		switch {
		case !cluster.DeletionTimestamp.IsZero():
		case tidbcluster.ParseOptIn(cluster.Annotations).Inject:
			asking[cluster.Namespace] = append(asking[cluster.Namespace], cluster)
		case standing(cluster) != nil:
			others = append(others, cluster)
		}
	}
	return asking, others
}

// tell makes a report known.
func (c *Checker) tell(ctx context.Context, cluster *v1alpha1.TidbCluster, report *Report) error {
	name, missed := client.ObjectKeyFromObject(cluster), report.Missed()
	c.missed.WithLabelValues(name.Namespace, name.Name).Set(float64(missed))
	// Later ones would only be counted: the recorder folds what is like.
	if missed > 0 && c.told[cluster.UID].missed == 0 {
		c.options.Events.Eventf(tidbcluster.Reference(name, cluster.UID), nil, corev1.EventTypeWarning, string(Missed), "Check", "%s", webhook.EventNote(report.message()))
	}
	c.told[cluster.UID] = told{name, missed}
	want := report.condition()
	if says(standing(cluster), &want) {
		return nil
	}
	return c.write(ctx, cluster, &want)
}

// forget drops what was told about clusters that ask no more or are gone.
func (c *Checker) forget(asking map[string][]*v1alpha1.TidbCluster) {
	for uid, old := range c.told {
		if !slices.ContainsFunc(asking[old.cluster.Namespace], func(c *v1alpha1.TidbCluster) bool { return c.UID == uid }) {
			delete(c.told, uid)
			c.missed.DeleteLabelValues(old.cluster.Namespace, old.cluster.Name)
		}
	}
}

// problem logs what went wrong, unless it is that the check ends.
func (c *Checker) problem(ctx context.Context, err error, message string, values ...any) {
	if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		c.options.Log.Error(err, message, values...)
	}
}
