package missed

import (
	"context"
	"errors"
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
	// Exclusion returns why no pod of a namespace would be, or the reason "".
	Exclusion(ctx context.Context, namespace string) (reason injection.Reason, detail string, err error)
}

// namespaces reads the labels of a namespace. It is a gather.Namespaces.
type namespaces interface {
	Labels(ctx context.Context, namespace string) (map[string]string, error)
}

// agents asks agents by their IP addresses, and returns a reply for each. It is an Asker.
type agents interface {
	ask(ctx context.Context, addresses []string) []reply
}

// Options has the parts of a Checker. All fields but Reach and Agents are required.
type Options struct {
	// Interval is the time between two checks of all TidbClusters.
	Interval time.Duration
	// Ready returns an error until there is something to check.
	Ready func() error
	// Readable returns an error if a kind that Clusters, Gatherer or Namespaces keep
	// in a cache can't be read now. A cache goes on with what it last knew then.
	Readable func(context.Context) error
	// Webhook is the name of the MutatingWebhookConfiguration.
	Webhook string
	// Service is the Service of the injector, which the webhook has to lead to.
	Service types.NamespacedName
	// Clusters lists the TidbClusters, in the form that resolve.Trim leaves them.
	Clusters client.Reader
	// Live lists pods and the injector's endpoints, reads the webhook, and reads and
	// patches TidbClusters. Its rate limit bounds what a check costs the API server.
	Live       client.Client
	Gatherer   reasoner
	Namespaces namespaces
	// Reach opens a connection to the injector as the API server would, given the CAs
	// that it trusts; nil for not, where Services can't be reached.
	Reach func(ctx context.Context, caBundle []byte) error
	// Agents asks running agents; nil for not.
	Agents agents
	// Events receives the Events for TidbClusters.
	Events events.EventRecorder
	// Metrics is where the gauges are registered.
	Metrics prometheus.Registerer
	// Log receives what could not be checked.
	Log logr.Logger
}

// Checker compares the running pods with what their TidbClusters ask for.
type Checker struct {
	options Options
	metrics *metrics
	// states has what is remembered about each TidbCluster that asks to be injected,
	// by its UID.
	states map[types.UID]*state
	// unusable has the agents that did not answer as they should.
	unusable recent[badReply]
	// away has InjectorNotReady or InjectorUnreachable while that is so.
	away recent[injection.Reason]
}

// badReply is what is wrong with the agent of a pod.
type badReply struct {
	pod    types.UID
	reason injection.Reason
}

// state is what is remembered about a TidbCluster from one check to the next.
type state struct {
	cluster types.NamespacedName
	// missed, notRunning and unusable count the pods of the last report.
	missed, notRunning, unusable int
	// refused has the refused pods of a report whose refusal was found, or can no longer be,
	// and refusal what is known of it.
	refused map[string]refusedPod
	refusal string
	// checked is the time of the last check that worked, zero for none.
	checked time.Time
	// failures is the number of checks that have failed since.
	failures int
}

// patience is how many checks in a row may fail before the condition says so. The API
// server may be away for a moment.
const patience = 3

// New returns a Checker. It fails if its metrics can't be registered.
func New(o Options) (*Checker, error) {
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	return &Checker{options: o, metrics: m, states: map[types.UID]*state{}}, nil
}

// NeedLeaderElection is true: only one replica checks, so that everything is
// reported once.
func (c *Checker) NeedLeaderElection() bool { return true }

// Start checks all TidbClusters until ctx ends. When it returns, the gauges are empty.
func (c *Checker) Start(ctx context.Context) error {
	c.metrics.begin(c.options.Interval)
	defer c.metrics.reset()
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
	asking, formerly := divide(clusters.Items)
	c.forget(asking)
	complete := true
	failed := func(err error, message string) {
		complete = false
		c.logError(ctx, err, message)
	}
	for _, cluster := range formerly {
		if err := c.write(ctx, cluster, nil); err != nil {
			failed(err, "condition not taken away")
		}
	}
	for cluster, report := range c.surveyAll(ctx, asking) {
		complete = complete && len(report.undecided) == 0
		if err := c.publish(ctx, cluster, report); err != nil {
			failed(err, "condition not written")
		}
	}
	if complete && ctx.Err() == nil {
		c.metrics.last.WithLabelValues().SetToCurrentTime()
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

// surveyAll returns a report on each TidbCluster.
func (c *Checker) surveyAll(ctx context.Context, asking map[string][]*v1alpha1.TidbCluster) map[*v1alpha1.TidbCluster]*Report {
	all := map[*v1alpha1.TidbCluster]*Report{}
	hook, common := c.readCommon(ctx)
	if common == nil {
		c.confirmAway(hook, asking)
	}
	if common != nil {
		c.logError(ctx, common, "TidbClusters not checked")
	}
	for namespace, clusters := range asking {
		var reports []*Report
		err := common
		if err == nil {
			if reports, err = c.survey(ctx, namespace, clusters, hook); err != nil {
				c.logError(ctx, err, "pods not checked", "namespace", namespace)
			}
		}
		for i, cluster := range clusters {
			if err != nil {
				all[cluster] = &Report{undecided: []error{err}}
			} else {
				all[cluster] = reports[i]
			}
		}
	}
	if c.options.Agents != nil {
		c.askAgents(ctx, all)
	}
	return all
}

// readCommon reads what a check needs for all TidbClusters.
func (c *Checker) readCommon(ctx context.Context) (*webhook, error) {
	if err := c.options.Readable(ctx); err != nil {
		return nil, err
	}
	return c.readWebhook(ctx)
}

// publish puts a report in the metrics, in Events and in the condition. A report that
// says nothing changes nothing, until there were too many of them.
func (c *Checker) publish(ctx context.Context, cluster *v1alpha1.TidbCluster, report *Report) error {
	name, s, own := client.ObjectKeyFromObject(cluster), c.stateOf(cluster), ownCondition(cluster)
	if cause := report.err(); cause != nil {
		s.failures++
		// The first cause is told, and not the latest: a text that changes with each
		// check would be written with each check.
		if s.failures < patience || own != nil && own.Reason == string(CheckFailed) {
			return nil
		}
		c.metrics.forget(name)
		want := uncheckedCondition(s.checked, cause)
		return c.write(ctx, cluster, &want)
	}
	c.metrics.set(name, report)
	// Only the first Event of a kind is sent: the recorder would merge later ones with
	// it.
	if report.Missed() > 0 && s.missed == 0 {
		c.sendEvent(cluster, Missed, report)
	}
	if len(report.NotRunning) > 0 && s.notRunning == 0 {
		c.sendEvent(cluster, AgentNotRunning, report)
	}
	if len(report.Unusable) > 0 && s.unusable == 0 {
		c.sendEvent(cluster, firstReason(report.Unusable), report)
	}
	s.missed, s.notRunning, s.unusable = report.Missed(), len(report.NotRunning), len(report.Unusable)
	s.checked, s.failures = time.Now(), 0
	want := report.condition()
	if sameCondition(own, &want) {
		return nil
	}
	return c.write(ctx, cluster, &want)
}

// stateOf returns what is remembered about a TidbCluster.
func (c *Checker) stateOf(cluster *v1alpha1.TidbCluster) *state {
	s := c.states[cluster.UID]
	if s == nil {
		s = &state{cluster: client.ObjectKeyFromObject(cluster)}
		c.states[cluster.UID] = s
	}
	return s
}

// sendEvent puts an Event on a TidbCluster.
func (c *Checker) sendEvent(cluster *v1alpha1.TidbCluster, reason injection.Reason, report *Report) {
	regarding := tidbcluster.Reference(client.ObjectKeyFromObject(cluster), cluster.UID)
	c.options.Events.Eventf(regarding, nil, corev1.EventTypeWarning, string(reason), "Check", "%s", tidbcluster.EventNote(report.message()))
}

// forget drops what was remembered about TidbClusters that no longer ask to be
// injected, or are gone.
func (c *Checker) forget(asking map[string][]*v1alpha1.TidbCluster) {
	for uid, s := range c.states {
		if !slices.ContainsFunc(asking[s.cluster.Namespace], func(c *v1alpha1.TidbCluster) bool { return c.UID == uid }) {
			delete(c.states, uid)
			c.metrics.forget(s.cluster)
		}
	}
}

// logError logs an error, unless it comes from the end of ctx.
func (c *Checker) logError(ctx context.Context, err error, message string, values ...any) {
	if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		c.options.Log.Error(err, message, values...)
	}
}
