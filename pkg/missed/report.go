package missed

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Reasons of the condition, beside those of an admission.
const (
	// Missed: the pod would get the agent if it were created now.
	Missed injection.Reason = "missed"
	// NamespaceExcluded: the webhook's namespaceSelector leaves the pod's
	// namespace out.
	NamespaceExcluded injection.Reason = "namespace_excluded"
	// NoPods: the TidbCluster has no pod yet that is to be injected.
	NoPods injection.Reason = "no_pods"
)

// Report is the state of those pods of one TidbCluster that it asks to inject.
type Report struct {
	// Injected is the number of pods with the agent.
	Injected int
	// Without has the pods without the agent.
	Without []Pod
}

// Pod is a pod without the agent, and why: Missed, or what keeps it from being
// injected.
type Pod struct {
	Name   string
	Reason injection.Reason
}

// add adds a pod, given the reason of the decision about it if it were created now.
// A pod that is not asked for is left out.
func (r *Report) add(name string, reason injection.Reason) {
	switch {
	case reason == injection.AlreadyInjected:
		r.Injected++
	case reason == injection.Injected:
		r.Without = append(r.Without, Pod{name, Missed})
	case reason == NamespaceExcluded || reason.Unwanted():
		r.Without = append(r.Without, Pod{name, reason})
	}
}

// Missed returns the number of pods that would get the agent if they were created
// now.
func (r *Report) Missed() int {
	count := 0
	for _, pod := range r.Without {
		if pod.Reason == Missed {
			count++
		}
	}
	return count
}

// reason returns the reason of the condition: Missed if any pod was missed, or else
// the reason that keeps a pod out.
func (r *Report) reason() injection.Reason {
	switch {
	case r.Injected+len(r.Without) == 0:
		return NoPods
	case len(r.Without) == 0:
		return injection.Injected
	case r.Missed() > 0:
		return Missed
	default: // of several, always the same: the first in alphabetical order
		return slices.MinFunc(r.Without, func(a, b Pod) int { return strings.Compare(string(a.Reason), string(b.Reason)) }).Reason
	}
}

// maxListed is the largest number of pods that a message names.
const maxListed = 10

// message returns the report as a sentence.
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
	if more := len(names) - maxListed; more > 0 {
		names = append(names[:maxListed], fmt.Sprintf("%d more", more))
	}
	text := fmt.Sprintf("%d of %d pods go without the agent: %s", len(r.Without), total, strings.Join(names, ", "))
	if r.Missed() > 0 {
		text += "; those missed get it when they are next created, and Tidelay restarts none"
	}
	return text
}

// condition returns the report as a condition of the TidbCluster, without times.
func (r *Report) condition() v1alpha1.TidbClusterCondition {
	reason := r.reason()
	status, ok := map[injection.Reason]corev1.ConditionStatus{
		injection.Injected: corev1.ConditionTrue, NoPods: corev1.ConditionUnknown,
	}[reason]
	if !ok {
		status = corev1.ConditionFalse
	}
	return v1alpha1.TidbClusterCondition{
		Type: tidbcluster.InjectedCondition, Status: status, Reason: string(reason), Message: r.message(),
	}
}
