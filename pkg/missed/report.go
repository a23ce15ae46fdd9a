package missed

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/webhook"
)

// Reasons of the condition, beside those of an admission.
const (
	// Missed: the pod would get the agent if it were made now.
	Missed webhook.Reason = "missed"
	// NamespaceExcluded: the webhook's namespaceSelector leaves the pod's
	// namespace out.
	NamespaceExcluded webhook.Reason = "namespace_excluded"
	// NoPods: the TidbCluster has no pod yet that is asked for.
	NoPods webhook.Reason = "no_pods"
)

// Report is how the pods of one TidbCluster stand: those that were asked for.
type Report struct {
	// Injected is how many carry the agent.
	Injected int
	// Without are those that do not.
	Without []Pod
}

// Pod is a pod without the agent, and why: Missed, or what keeps it from being
// injected.
type Pod struct {
	Name   string
	Reason webhook.Reason
}

// add takes in a pod by the reason of what would be decided about it if it were
// made now.
func (r *Report) add(name string, reason webhook.Reason) {
	switch {
	case reason == webhook.AlreadyInjected:
		r.Injected++
	case reason == webhook.Injected:
		r.Without = append(r.Without, Pod{name, Missed})
	case reason == NamespaceExcluded || reason.Unwanted():
		r.Without = append(r.Without, Pod{name, reason})
	}
}

// Missed is how many pods would get the agent if they were made now.
func (r *Report) Missed() int {
	count := 0
	for _, pod := range r.Without {
		if pod.Reason == Missed {
			count++
		}
	}
	return count
}

// reason is Missed where any pod was, or else what keeps one out.
func (r *Report) reason() webhook.Reason {
	switch {
	case r.Injected+len(r.Without) == 0:
		return NoPods
	case len(r.Without) == 0:
		return webhook.Injected
	case r.Missed() > 0:
		return Missed
	default: // the first of the alphabet, so that it does not change by itself
		return slices.MinFunc(r.Without, func(a, b Pod) int { return strings.Compare(string(a.Reason), string(b.Reason)) }).Reason
	}
}

// listed bounds how many pods a message names.
const listed = 10

// message is the report in a sentence.
func (r *Report) message() string {
	total := r.Injected + len(r.Without)
	switch {
	case total == 0:
		return "no pod is asked for yet"
	case len(r.Without) == 0:
		return fmt.Sprintf("%d of %d pods carry the agent", total, total)
	}
	var names []string
	for _, pod := range slices.SortedFunc(slices.Values(r.Without), func(a, b Pod) int { return strings.Compare(a.Name, b.Name) }) {
		names = append(names, fmt.Sprintf("%s (%s)", pod.Name, pod.Reason))
	}
	if more := len(names) - listed; more > 0 {
		names = append(names[:listed], fmt.Sprintf("%d more", more))
	}
	text := fmt.Sprintf("%d of %d pods go without the agent: %s", len(r.Without), total, strings.Join(names, ", "))
	if r.Missed() > 0 {
		text += "; those missed get it when they are next created, and Tidelay restarts none"
	}
	return text
}

// condition is the report as a condition of the TidbCluster, without times.
func (r *Report) condition() v1alpha1.TidbClusterCondition {
	reason := r.reason()
	status, ok := map[webhook.Reason]corev1.ConditionStatus{
		webhook.Injected: corev1.ConditionTrue, NoPods: corev1.ConditionUnknown,
	}[reason]
	if !ok {
		status = corev1.ConditionFalse
	}
	return v1alpha1.TidbClusterCondition{
		Type: tidbcluster.InjectedCondition, Status: status, Reason: string(reason), Message: r.message(),
	}
}
