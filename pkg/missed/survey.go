package missed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// survey returns a report on each of a namespace's TidbClusters, in their order.
func (c *Checker) survey(ctx context.Context, namespace string, clusters []*v1alpha1.TidbCluster, hook *webhook) ([]*Report, error) {
	pods, err := c.runningPods(ctx, namespace)
	if err != nil {
		return nil, err
	}
	found, err := c.options.Namespaces.Labels(ctx, namespace)
	if err != nil {
		return nil, err
	}
	excluded, detail, err := c.options.Gatherer.Exclusion(ctx, namespace)
	if err != nil {
		return nil, err
	}
	namespaceLabels, now := labels.Set(found), time.Now()
	reports, byUID := make([]*Report, len(clusters)), map[types.UID]*Report{}
	for i, cluster := range clusters {
		reports[i] = &Report{}
		byUID[cluster.UID] = reports[i]
	}
	for _, pod := range pods {
		member, reason, err := c.reason(ctx, pod)
		if err != nil {
			c.logError(ctx, err, "pod not checked", "namespace", namespace, "pod", pod.Name)
			for i, cluster := range clusters {
				if mayBelong(pod, cluster) {
					reports[i].undecided = append(reports[i].undecided, fmt.Errorf("pod %s: %w", pod.Name, err))
				}
			}
			continue
		}
		if report := byUID[member.UID]; report != nil {
			blocked := hook.obstacle(namespaceLabels, pod.Labels, now)
			if blocked == nil {
				reason = refusedBefore(pod, reason)
				blocked = obstacleFrom(excluded, detail)
			}
			report.add(pod, reason, blocked, now)
			if reason == injection.Refused {
				report.addRefused(pod)
			}
		}
	}
	c.explainRefusals(ctx, namespace, clusters, reports)
	for _, report := range reports {
		report.strict = hook.strictness()
		if report.total() == 0 {
			report.blocked = cmp.Or(hook.obstacle(namespaceLabels, tidbcluster.OperatorLabels(), now), obstacleFrom(excluded, detail))
		}
	}
	return reports, nil
}

// askAgents asks the agents of all reports at once, so that those that can't be asked
// hold up the check once and not in each namespace. The pods were listed before, and one
// may have been replaced since: only what the same pod replied twice in a row is told.
func (c *Checker) askAgents(ctx context.Context, reports map[*v1alpha1.TidbCluster]*Report) {
	clusters := slices.Collect(maps.Keys(reports))
	var addresses []string
	for _, cluster := range clusters {
		for _, pod := range reports[cluster].running {
			addresses = append(addresses, pod.ip)
		}
	}
	replies := c.options.Agents.ask(ctx, addresses)
	c.unusable.next()
	for _, cluster := range clusters {
		own := len(reports[cluster].running)
		reports[cluster].addReplies(replies[:own], func(uid types.UID, pod Pod) bool {
			return c.unusable.again(badReply{uid, pod.Reason}) || says(cluster, pod.String())
		})
		replies = replies[own:]
	}
}

// mayBelong reports whether a pod whose owners can't be read may be one of a
// TidbCluster's. TiDB Operator labels pods with the name of their TidbCluster.
func mayBelong(pod *corev1.Pod, cluster *v1alpha1.TidbCluster) bool {
	name, ok := pod.Labels[tidbcluster.InstanceLabel]
	return !ok || name == cluster.Name
}

// runningPods returns the pods of a namespace that TiDB Operator has made and that
// have not ended.
func (c *Checker) runningPods(ctx context.Context, namespace string) ([]*corev1.Pod, error) {
	var list corev1.PodList
	if err := c.options.Live.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels(tidbcluster.OperatorLabels()), fromServerCache()); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var pods []*corev1.Pod
	for i := range list.Items {
		pod := &list.Items[i]
		if pod.DeletionTimestamp.IsZero() && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

// fromServerCache has the API server answer a list from its own cache. That may be a
// moment old, which is good enough here, and costs etcd nothing.
func fromServerCache() client.ListOption {
	return &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: "0"}}
}

// reason returns the reason of the decision about a pod if it were created now. One that
// has an agent nevertheless carries it: the agent was attached to the running pod, or the
// pod was moved to the node's network with it, and then the agent itself says that it can't
// be used. A panic turns into an error, so that one odd pod does not end the process.
func (c *Checker) reason(ctx context.Context, pod *corev1.Pod) (member tidbcluster.Membership, reason injection.Reason, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	member, reason, err = c.options.Gatherer.Reason(ctx, pod.Namespace, pod)
	isAskedFor := reason == injection.Injected || reason.Unwanted()
	if err == nil && isAskedFor && injection.HasAgent(pod) {
		reason = injection.AlreadyInjected
	}
	return member, reason, err
}

// readWebhook reads the API server's way to the injector.
func (c *Checker) readWebhook(ctx context.Context) (*webhook, error) {
	w := &webhook{name: c.options.Webhook, service: c.options.Service}
	config := &admissionregistrationv1.MutatingWebhookConfiguration{}
	err := c.options.Live.Get(ctx, client.ObjectKey{Name: w.name}, config)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read MutatingWebhookConfiguration %s: %w", w.name, err)
	}
	if err == nil {
		w.configuration = config
	}
	var endpoints discoveryv1.EndpointSliceList
	ofService := client.MatchingLabels{discoveryv1.LabelServiceName: w.service.Name}
	if err := c.options.Live.List(ctx, &endpoints, client.InNamespace(w.service.Namespace), ofService, fromServerCache()); err != nil {
		return nil, fmt.Errorf("list EndpointSlices of Service %s: %w", w.service, err)
	}
	w.ready = slices.ContainsFunc(endpoints.Items, hasReady)
	w.unreachable = c.reach(ctx, w)
	return w, nil
}

// reach says why no connection to the injector can be made, or "" if one can, or if there
// is nobody to reach. The error, which may have another port each time, is in the log.
func (c *Checker) reach(ctx context.Context, w *webhook) string {
	bundle := w.caBundle(time.Now())
	if c.options.Reach == nil || !w.ready || bundle == nil {
		return ""
	}
	err := c.options.Reach(ctx, bundle)
	if err == nil || ctx.Err() != nil {
		return ""
	}
	c.logError(ctx, err, "the injector is not reached through its Service")
	if !errors.Is(err, errElsewhere) {
		return ""
	}
	return "a connection is refused or can't be trusted, and the controller's log says why"
}

// confirmAway leaves out that the injector is away unless two checks in a row find it so,
// or a condition says it already.
func (c *Checker) confirmAway(w *webhook, asking map[string][]*v1alpha1.TidbCluster) {
	c.away.next()
	isSure := func(o *obstacle) bool { return c.away.again(o.reason) || saidByAny(asking, o.detail) }
	switch {
	case !w.ready:
		w.ready = !isSure(w.notReady())
	case w.unreachable != "" && !isSure(w.notReached()):
		w.unreachable = ""
	}
}

// hasReady reports whether one of the endpoints is ready. Whoever makes an EndpointSlice
// may leave that out, and it means yes then.
func hasReady(slice discoveryv1.EndpointSlice) bool {
	return slices.ContainsFunc(slice.Endpoints, func(e discoveryv1.Endpoint) bool { return e.Conditions.Ready == nil || *e.Conditions.Ready })
}
