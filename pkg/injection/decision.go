package injection

import (
	"fmt"
	"slices"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Decision is what happens to one pod, and why.
type Decision struct {
	// Reason names the outcome.
	Reason Reason
	// Detail says in a sentence what led to it.
	Detail string
	// Problems has a sentence for each annotation that is not valid, whatever the
	// outcome.
	Problems []string
	// Patch adds the agent if Reason is Injected, says that there is none if Reason
	// is Refused, and removes one that was added before if Reason is HostNetwork. It is
	// empty for every other reason.
	Patch []jsonpatch.Operation
}

// Decide says what happens to pod, a member of a TidbCluster. It depends on its
// arguments and on c only, and changes none of them.
func (c Config) Decide(pod *corev1.Pod, member tidbcluster.Membership, facts Facts) Decision {
	decision := Decision{Problems: member.OptIn.Problems}
	decision.Reason, decision.Detail = reasonFor(pod, member, facts)
	if value := pod.Annotations[tidbcluster.InjectAnnotation]; decision.Reason == OptedOut && value != "false" {
		problem := fmt.Sprintf(`the pod's annotation %s is %.64q; accepted: "true", "false"`, tidbcluster.InjectAnnotation, value)
		decision.Problems = slices.Concat(decision.Problems, []string{problem})
	}
	if decision.Reason == Injected {
		sidecar, problem := native(member.OptIn, facts)
		if problem != "" {
			decision.Problems = slices.Concat(decision.Problems, []string{problem})
		}
		decision.Patch = c.patch(pod, member, sidecar)
	}
	if decision.Reason == HostNetwork && IsInjected(pod) { // another webhook has moved it to the node's network
		decision.Patch = Removal(pod)
	}
	return decision
}

// reasonFor returns the first reason that applies, and what led to it.
func reasonFor(pod *corev1.Pod, member tidbcluster.Membership, facts Facts) (Reason, string) {
	if member.Deleting {
		return ClusterDeleting, "the TidbCluster is being deleted"
	}
	if !member.OptIn.Inject {
		return NotOptedIn, fmt.Sprintf("the TidbCluster has no annotation %s: \"true\"", tidbcluster.InjectAnnotation)
	}
	if !member.OptIn.Covers(member.Component) {
		return ComponentExcluded, fmt.Sprintf("annotation %s leaves out %s", tidbcluster.ComponentsAnnotation, member.Component)
	}
	if value, ok := pod.Annotations[tidbcluster.InjectAnnotation]; ok && value != "true" {
		return OptedOut, fmt.Sprintf("the pod has annotation %s: %.64q", tidbcluster.InjectAnnotation, value)
	}
	if pod.Spec.HostNetwork {
		return HostNetwork, "hostNetwork is true: a fault would hit the node and every pod on it that shares its network"
	}
	if IsInjected(pod) {
		return AlreadyInjected, "the agent is there already"
	}
	if removed := agentRemoved(pod); removed != "" {
		return AgentRemoved, removed
	}
	if windows := windowsNode(pod); windows != "" {
		return Windows, windows + ": the agent needs Linux"
	}
	if conflict := nameConflict(pod); conflict != "" {
		return NameConflict, conflict
	}
	if conflict := portConflict(pod); conflict != "" {
		return PortConflict, conflict
	}
	if len(pod.Spec.Containers) == 0 {
		// The patch could not be applied, and the API server would say that instead
		// of naming the missing containers.
		return InternalError, "the pod has no containers"
	}
	if reason, detail := facts.Exclusion(); reason != "" {
		return reason, detail
	}
	return Injected, fmt.Sprintf("the agent listens on port %d", api.Port)
}
