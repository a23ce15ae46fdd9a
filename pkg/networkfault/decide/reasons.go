package decide

// The reasons of a status, beside the rules of safety, whose names are those of
// v1alpha1.Allowance.
const (
	// ReasonApplied and ReasonApplying: in force at all pods, and not yet at all of them.
	ReasonApplied  = "Applied"
	ReasonApplying = "Applying"
	// ReasonNotApplied: at some pods it is not in force, and the message says why.
	ReasonNotApplied = "NotApplied"
	// ReasonNoLongerApplied is that of the condition Applied if it was true before.
	ReasonNoLongerApplied = "NoLongerApplied"
	// ReasonStarting: its start is being written.
	ReasonStarting = "Starting"
	// ReasonNotReady: a topology waits until the TidbCluster is ready.
	ReasonNotReady = "NotReady"
	// ReasonAnotherTopology: a topology waits until another one of the TidbCluster has ended.
	ReasonAnotherTopology = "AnotherTopology"
	// ReasonNoZones: a topology waits until at least two zones have pods, and as many as its
	// profile has, and something is between two of them.
	ReasonNoZones = "NoZones"
	// ReasonPaused: spec.paused is true.
	ReasonPaused = "Paused"
	// ReasonExpired: its time is over.
	ReasonExpired = "Expired"
	// ReasonClusterNotFound: there is no such TidbCluster, or no more.
	ReasonClusterNotFound = "ClusterNotFound"
	// ReasonProtected: the TidbCluster takes no faults.
	ReasonProtected = "Protected"
	// ReasonNotInjected: the TidbCluster does not ask for agents.
	ReasonNotInjected = "NotInjected"
	// ReasonInvalidSelector: a selector can't be read.
	ReasonInvalidSelector = "InvalidSelector"
	// ReasonInvalid: something else in the spec can't be meant.
	ReasonInvalid = "Invalid"
	// ReasonRoleUnknown: nobody knows now which pod has a role.
	ReasonRoleUnknown = "RoleUnknown"
	// ReasonNobodySelected: a selector selects no pod, or no packet goes between both sides:
	// they are the same pod, or have addresses of other families.
	ReasonNobodySelected = "NobodySelected"
	// ReasonHostNetwork: a selected pod has the node's address.
	ReasonHostNetwork = "HostNetwork"
	// ReasonNoAgent: a selected pod has no agent, or none of them has one.
	ReasonNoAgent = "NoAgent"
	// ReasonConflict: it can't be combined with another fault, or held by a pod.
	ReasonConflict = "Conflict"
	// ReasonAgentRefused: an agent refused it.
	ReasonAgentRefused = "AgentRefused"
)
