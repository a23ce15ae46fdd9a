package missed

import (
	"context"
	"fmt"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// survey returns a report on each of a namespace's TidbClusters, in their order.
// selected selects the namespaces in which pods are injected.
func (c *Checker) survey(ctx context.Context, namespace string, clusters []*v1alpha1.TidbCluster, selected labels.Selector) ([]*Report, error) {
	pods, err := c.runningPods(ctx, namespace)
	if err != nil {
		return nil, err
	}
	namespaceLabels, err := c.options.Namespaces.Labels(ctx, namespace)
	if err != nil {
		return nil, err
	}
	excluded := !selected.Matches(labels.Set(namespaceLabels))
	reports, byUID := make([]*Report, len(clusters)), map[types.UID]*Report{}
	for i, cluster := range clusters {
		reports[i] = &Report{}
		byUID[cluster.UID] = reports[i]
	}
	for _, pod := range pods {
		member, reason, err := c.reason(ctx, pod)
		if err != nil {
			c.logError(ctx, err, "pod not checked", "namespace", namespace, "pod", pod.Name)
			continue
		}
		if excluded && reason == injection.Injected {
			reason = NamespaceExcluded
		}
		if report := byUID[member.UID]; report != nil {
			report.add(pod.Name, reason)
		}
	}
	return reports, nil
}

// runningPods returns the pods of a namespace that TiDB Operator has made and that
// have not ended.
func (c *Checker) runningPods(ctx context.Context, namespace string) ([]*corev1.Pod, error) {
	var list corev1.PodList
	// Resource version 0 has the API server answer from its own cache. That may be
	// a moment old, which is good enough here, and costs etcd nothing.
	cached := &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: "0"}}
	if err := c.options.Live.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels(tidbcluster.OperatorLabels()), cached); err != nil {
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

// reason returns the reason of the decision about a pod if it were created now. A
// panic turns into an error, so that one odd pod does not end the process.
func (c *Checker) reason(ctx context.Context, pod *corev1.Pod) (member tidbcluster.Membership, reason injection.Reason, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return c.options.Gatherer.Reason(ctx, pod.Namespace, pod)
}

// namespaceSelector returns the selector of the namespaces for whose pods the API
// server calls the webhook.
func (c *Checker) namespaceSelector(ctx context.Context) (labels.Selector, error) {
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
