package injection

// Because says in a few words, for people, why a pod has this reason, in a sentence such as
// "it gets no agent: the TidbCluster is being deleted".
func (r Reason) Because() string { return because()[r] }

func because() map[Reason]string {
	return map[Reason]string{
		Injected:          "nothing speaks against it",
		AlreadyInjected:   "it has the agent",
		LookupFailed:      "what it has to know can't be read",
		InternalError:     "the pod makes no sense to it",
		NotMember:         "the pod is part of no TidbCluster",
		StaleOwner:        "an owner of the pod is gone, or was replaced by another one of its name",
		ClusterDeleting:   "the TidbCluster is being deleted",
		NotOptedIn:        "the TidbCluster does not ask for agents",
		ComponentExcluded: "the TidbCluster asks for agents in other components only",
		OptedOut:          "the pod itself says that it wants none",
		AgentRemoved:      "the agent was added before, and another webhook has removed it",
		HostNetwork:       "the pod shares the node's network",
		Windows:           "the pod runs on Windows",
		NameConflict:      "a container or volume has the agent's name",
		PortConflict:      "a container has the agent's port",
		PodSecurity:       "Pod Security of the namespace forbids it",
		ImageUnavailable:  "the agent's image can't be pulled",
		Refused:           "the API server does not make the pod with it",
	}
}
