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

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// reasoner returns the reason of the decision about a pod if it were created now. It
// is a gather.Gatherer.
type reasoner interface {
	Reason(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, injection.Reason, error)
}

// namespaces reads the labels of a namespace. It is a gather.Namespaces.
type namespaces interface {
	Labels(ctx context.Context, namespace string) (map[string]string, error)
}

// Options has the parts of a Checker. All fields are required.
type Options struct {
	// Interval is the time between two checks of all TidbClusters.
	Interval time.Duration
	// Ready returns an error until there is something to check.
	Ready func() error
	// Webhook is the name of the MutatingWebhookConfiguration. Its
	// namespaceSelector says in which namespaces pods are injected.
	Webhook string
	// Clusters lists the TidbClusters, in the form that resolve.Trim leaves them.
	Clusters client.Reader
	// Live lists pods, and reads and patches TidbClusters. Its rate limit bounds
	// what a check costs the API server.
	Live       client.Client
	Gatherer   reasoner
	Namespaces namespaces
	// Events receives the Events for TidbClusters.
	Events events.EventRecorder
	// Metrics is where the gauge is registered.
	Metrics prometheus.Registerer
	// Log receives what could not be checked.
	Log logr.Logger
}

// Checker compares the running pods with what their TidbClusters ask for.
type Checker struct {
	options Options
	missed  *prometheus.GaugeVec
	// reported is what was last reported about each TidbCluster, by its UID.
	reported map[types.UID]reported
}

// reported is what was last reported about a TidbCluster.
type reported struct {
	cluster types.NamespacedName
	missed  int
}

// New returns a Checker. It fails if its metric can't be registered.
func New(o Options) (*Checker, error) {
	c := &Checker{options: o, reported: map[types.UID]reported{}, missed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tidelay_missed_pods",
		Help: "Running pods that would carry the agent if they were made now, and do not.",
	}, []string{"namespace", "tidbcluster"})}
	if err := o.Metrics.Register(c.missed); err != nil {
		return nil, fmt.Errorf("register tidelay_missed_pods: %w", err)
	}
	return c, nil
}

// NeedLeaderElection is true: only one replica checks, so that everything is
// reported once.
func (c *Checker) NeedLeaderElection() bool { return true }

// Start checks all TidbClusters until ctx ends. When it returns, the gauge is empty.
func (c *Checker) Start(ctx context.Context) error {
	defer c.missed.Reset()
	ready := func(context.Context) (bool, error) { return c.options.Ready() == nil, nil }
	// The error is ctx's, and then the loop below ends at once.
	_ = wait.PollUntilContextCancel(ctx, time.Second, true, ready)
	wait.UntilWithContext(ctx, c.check, c.options.Interval)
	return nil
}

// check checks every TidbCluster once.
func (c *Checker) check(ctx context.Context) {
	var clusters v1alpha1.TidbClusterList
	if err := c.options.Clusters.List(ctx, &clusters); err != nil {
		c.logError(ctx, err, "TidbClusters not listed")
		return
	}
	selected, err := c.namespaceSelector(ctx)
	if err != nil {
		c.logError(ctx, err, "webhook not read")
		return
	}
	asking, formerly := divide(clusters.Items)
	c.forget(asking)
	for _, cluster := range formerly {
		if err := c.write(ctx, cluster, nil); err != nil {
			c.logError(ctx, err, "condition not taken away")
		}
	}
	for namespace, clusters := range asking {
		reports, err := c.survey(ctx, namespace, clusters, selected)
		if err != nil {
			c.logError(ctx, err, "pods not checked", "namespace", namespace)
			continue
		}
		for i, cluster := range clusters {
			if err := c.publish(ctx, cluster, reports[i]); err != nil {
				c.logError(ctx, err, "condition not written")
			}
		}
	}
}

// divide returns the TidbClusters that ask to be injected, by namespace, and those
// that no longer ask and still have our condition.
func divide(clusters []v1alpha1.TidbCluster) (asking map[string][]*v1alpha1.TidbCluster, formerly []*v1alpha1.TidbCluster) {
	asking = map[string][]*v1alpha1.TidbCluster{}
	for i := range clusters {
		cluster := &clusters[i]
		switch {
		case !cluster.DeletionTimestamp.IsZero():
		case tidbcluster.ParseOptIn(cluster.Annotations).Inject:
			asking[cluster.Namespace] = append(asking[cluster.Namespace], cluster)
		case ownCondition(cluster) != nil:
			formerly = append(formerly, cluster)
		}
	}
	return asking, formerly
}

// publish puts a report in the metric, in an Event and in the condition.
func (c *Checker) publish(ctx context.Context, cluster *v1alpha1.TidbCluster, report *Report) error {
	name, missed := client.ObjectKeyFromObject(cluster), report.Missed()
	c.missed.WithLabelValues(name.Namespace, name.Name).Set(float64(missed))
	// Only the first Event is sent: the recorder would merge later ones with it.
	if missed > 0 && c.reported[cluster.UID].missed == 0 {
		c.options.Events.Eventf(tidbcluster.Reference(name, cluster.UID), nil, corev1.EventTypeWarning, string(Missed), "Check", "%s", tidbcluster.EventNote(report.message()))
	}
	c.reported[cluster.UID] = reported{name, missed}
	want := report.condition()
	if sameCondition(ownCondition(cluster), &want) {
		return nil
	}
	return c.write(ctx, cluster, &want)
}

// forget drops what was reported about TidbClusters that no longer ask to be
// injected, or are gone.
func (c *Checker) forget(asking map[string][]*v1alpha1.TidbCluster) {
	for uid, old := range c.reported {
		if !slices.ContainsFunc(asking[old.cluster.Namespace], func(c *v1alpha1.TidbCluster) bool { return c.UID == uid }) {
			delete(c.reported, uid)
			c.missed.DeleteLabelValues(old.cluster.Namespace, old.cluster.Name)
		}
	}
}

// logError logs an error, unless it comes from the end of ctx.
func (c *Checker) logError(ctx context.Context, err error, message string, values ...any) {
	if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		c.options.Log.Error(err, message, values...)
	}
}
