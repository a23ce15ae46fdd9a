package webhook

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
	// Problems are sentences about annotations that make no sense, whatever the
	// outcome.
	Problems []string
	// Patch adds the agent. It is empty unless Reason is Injected.
	Patch []jsonpatch.Operation
}

// Facts are what a decision needs to know beside the pod and its TidbCluster.
type Facts struct {
	// PodSecurity is the level that the pod's namespace enforces, "" for none.
	PodSecurity string
	// Operator is the version of TiDB Operator, "v1.6.0", or what else its image
	// is tagged. It matters only where the TidbCluster asks for a native sidecar.
	Operator string
	// OperatorErr is why Operator could not be read.
	OperatorErr error
}

// Decide says what happens to pod, a member of a TidbCluster. It depends on its
// arguments only and does not change them.
func (c Config) Decide(pod *corev1.Pod, member tidbcluster.Membership, facts Facts) Decision {
	decision := Decision{Problems: member.OptIn.Problems}
	decision.Reason, decision.Detail = judge(pod, member, facts.PodSecurity)
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
	return decision
}

// judge finds the first reason that applies.
func judge(pod *corev1.Pod, member tidbcluster.Membership, level string) (Reason, string) {
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
	if injected(pod) {
		return AlreadyInjected, "the agent is there already"
	}
	if pod.Spec.HostNetwork {
		return HostNetwork, "hostNetwork is true: a fault would hit the node and every pod on it that shares its network"
	}
	if conflict := nameConflict(pod); conflict != "" {
		return NameConflict, conflict
	}
	if conflict := portConflict(pod); conflict != "" {
		return PortConflict, conflict
	}
	if forbidsNetAdmin(level) {
		return PodSecurity, fmt.Sprintf("the namespace enforces Pod Security level %.64q, which forbids NET_ADMIN; want privileged", level)
	}
	if len(pod.Spec.Containers) == 0 {
		// The API server says so better than it says that it cannot patch.
		return InternalError, "the pod has no containers"
	}
	return Injected, fmt.Sprintf("the agent listens on port %d", api.Port)
}

// forbidsNetAdmin reports whether a namespace that enforces level rejects a
// container with NET_ADMIN. Like the API server it takes a level it does not
// know for the strictest one.
func forbidsNetAdmin(level string) bool {
	return level != "" && level != "privileged"
}
