package injection

// Reason is the outcome of one decision, from a closed set. Its value is stable:
// it is a metric label, a log field, an audit annotation and the reason of an
// Event.
type Reason string

// The reasons. Where several apply, the one that is looked for first is the
// answer: what the facts could not tell, then the order of Config.Decide. Refused
// takes the place of Injected; see Decision.Refused.
const (
	// Injected: the patch adds the agent.
	Injected Reason = "injected"

	// LookupFailed: the pod's owners could not be read before the deadline.
	LookupFailed Reason = "lookup_failed"
	// InternalError: the pod could not be decoded or has no containers, or
	// deciding panicked.
	InternalError Reason = "internal_error"
	// NotMember: no controller owner leads to a TidbCluster's component.
	NotMember Reason = "not_member"
	// StaleOwner: an owner reference names an object that is gone, or was replaced
	// by another with the same name.
	StaleOwner Reason = "stale_owner"
	// ClusterDeleting: the TidbCluster is being deleted.
	ClusterDeleting Reason = "cluster_deleting"
	// NotOptedIn: the TidbCluster has no tidelay.io/inject: "true".
	NotOptedIn Reason = "not_opted_in"
	// ComponentExcluded: tidelay.io/components leaves the component out.
	ComponentExcluded Reason = "component_excluded"
	// OptedOut: the pod's own tidelay.io/inject says no.
	OptedOut Reason = "opted_out"
	// AlreadyInjected: the agent is there, from an earlier call for the same
	// pod or because the pod is a copy of an injected one.
	AlreadyInjected Reason = "already_injected"
	// AgentRemoved: the agent was added, and another webhook has removed it before
	// the injector saw the pod again.
	AgentRemoved Reason = "agent_removed"
	// HostNetwork: the pod shares the node's network, which a fault would hit.
	HostNetwork Reason = "host_network"
	// Windows: the pod can only run on a Windows node, and the agent needs Linux.
	Windows Reason = "windows"
	// NameConflict: a container or volume that is not ours has our name.
	NameConflict Reason = "name_conflict"
	// PortConflict: another container declares the agent's port, or is probed there. One
	// that listens there without saying so is not seen.
	PortConflict Reason = "port_conflict"
	// PodSecurity: the namespace enforces a Pod Security level that forbids
	// NET_ADMIN, so the API server would reject the injected pod.
	PodSecurity Reason = "pod_security"
	// ImageUnavailable: the agent's image can't be pulled on some pod, so this one
	// would not become ready either.
	ImageUnavailable Reason = "image_unavailable"
	// Refused: the pod was asked for several times with the agent and not made, since
	// something that the API server asks after the injector refuses it: a policy,
	// a quota, a limit.
	Refused Reason = "refused"
)

// Reasons lists every Reason once.
func Reasons() []Reason {
	return []Reason{
		Injected, LookupFailed, InternalError, NotMember, StaleOwner, ClusterDeleting, NotOptedIn,
		ComponentExcluded, OptedOut, AlreadyInjected, AgentRemoved, HostNetwork, Windows, NameConflict, PortConflict, PodSecurity, ImageUnavailable, Refused,
	}
}

// Unwanted reports whether the TidbCluster asks for the agent and the pod yet goes
// without it, which somebody should hear of.
func (r Reason) Unwanted() bool {
	switch r {
	case LookupFailed, InternalError, AgentRemoved, HostNetwork, Windows, NameConflict, PortConflict, PodSecurity, ImageUnavailable, Refused:
		return true
	default:
		return false
	}
}
