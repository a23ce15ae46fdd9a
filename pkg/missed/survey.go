package missed

import (
	"context"
	"errors"
	"fmt"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/webhook"
)

// survey makes a report on each of a namespace's clusters, in their order.
func (c *Checker) survey(ctx context.Context, namespace string, clusters []*v1alpha1.TidbCluster, reaches labels.Selector) ([]*Report, error) {
	var pods corev1.PodList
	// From the API server's own cache: a look at the state of a moment ago is
	// enough, and costs etcd nothing.
	recent := &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: "0"}}
	if err := c.options.Live.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels(tidbcluster.OperatorLabels()), recent); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	level, err := c.options.Namespaces.EnforcedLevel(ctx, namespace)
	if err != nil {
		return nil, err
	}
	itsLabels, err := c.options.Namespaces.Labels(ctx, namespace)
	if err != nil {
		return nil, err
	}
	excluded := !reaches.Matches(labels.Set(itsLabels))
	reports, byUID := make([]*Report, len(clusters)), map[types.UID]*Report{}
	for i, cluster := range clusters {
		reports[i] = &Report{}
		byUID[cluster.UID] = reports[i]
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if !pod.DeletionTimestamp.IsZero() || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		member, reason, err := c.decide(ctx, pod, level)
		if err != nil {
			c.problem(ctx, err, "pod not checked", "namespace", namespace, "pod", pod.Name)
			continue
		}
		if excluded && reason == webhook.Injected {
			reason = NamespaceExcluded
		}
		if report := byUID[member.UID]; report != nil {
			report.add(pod.Name, reason)
		}
	}
	return reports, nil
}

// decide is what would be decided about a pod if it were made now. One that
// nobody can decide about must not end the process, which is the webhook's.
func (c *Checker) decide(ctx context.Context, pod *corev1.Pod, level string) (member tidbcluster.Membership, reason webhook.Reason, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	member, err = c.options.Resolver.Resolve(ctx, pod.Namespace, pod)
	switch {
	case errors.Is(err, tidbcluster.ErrNotMember):
		return member, webhook.NotMember, nil
	case errors.Is(err, tidbcluster.ErrStaleOwner):
		return member, webhook.StaleOwner, nil
	case err != nil:
		return member, "", err
	}
	return member, c.options.Config().Decide(pod, member, webhook.Facts{PodSecurity: level}).Reason, nil
}

// reach selects the namespaces whose pods the API server asks the webhook about.
func (c *Checker) reach(ctx context.Context) (labels.Selector, error) {
	config := &admissionregistrationv1.MutatingWebhookConfiguration{}
	if err := c.options.Live.Get(ctx, client.ObjectKey{Name: c.options.Webhook}, config); err != nil {
		return nil, fmt.Errorf("read MutatingWebhookConfiguration %s: %w", c.options.Webhook, err)
	}
	if len(config.Webhooks) == 0 {
		return labels.Nothing(), nil
	}
	selector, err := metav1.LabelSelectorAsSelector(config.Webhooks[0].NamespaceSelector)
	if err != nil {
		return nil, fmt.Errorf("parse namespaceSelector of %s: %w", c.options.Webhook, err)
	}
	return selector, nil
}
