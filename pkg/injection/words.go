package injection

// Because says in a few words, for people, why a pod has this reason, in a sentence such as
// "it gets no agent: the TidbCluster is being deleted".
func (r Reason) Because() string {
	switch r {
	case Injected:
		return "nothing speaks against it"
	case AlreadyInjected:
		return "it has the agent"
	case LookupFailed:
		return "what it has to know can't be read"
	case InternalError:
		return "the pod makes no sense to it"
	case NotMember:
		return "the pod is part of no TidbCluster"
	case StaleOwner:
		return "an owner of the pod is gone, or was replaced by another one of its name"
	case ClusterDeleting:
		return "the TidbCluster is being deleted"
	case NotOptedIn:
		return "the TidbCluster does not ask for agents"
	case ComponentExcluded:
		return "the TidbCluster asks for agents in other components only"
	case OptedOut:
		return "the pod itself says that it wants none"
	case AgentRemoved:
		return "the agent was added before, and another webhook has removed it"
	case HostNetwork:
		return "the pod shares the node's network"
	case Windows:
		return "the pod runs on Windows"
	case NameConflict:
		return "a container or volume has the agent's name"
	case PortConflict:
		return "a container has the agent's port"
	case PodSecurity:
		return "Pod Security of the namespace forbids it"
	case ImageUnavailable:
		return "the agent's image can't be pulled"
	case Refused:
		return "the API server does not make the pod with it"
	default:
		return string(r)
	}
}
