package keeper

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// news is what is to be told of an agent.
type news struct {
	cluster, pod types.NamespacedName
	change
	// faults are the names of those that it holds.
	faults []string
	// complaint is why it does not hold its faults, if that has not been logged yet.
	complaint string
	// isLost is whether what it holds is not known, because it does not answer or run.
	isLost bool
	// recovered is set if the last complaint is over.
	recovered bool
	// leftovers are the names of faults that it held for an earlier controller, and that
	// were ended.
	leftovers []string
	// putRight is what of its faults had been changed by somebody else, and target what
	// it was to hold then.
	putRight []api.Change
	target   *Target
}

// news returns what is to be told after a change of the agent's state.
func (a *agent) news(c change) news {
	n := news{cluster: a.cluster, pod: a.pod, change: c, isLost: a.state.Silent || a.state.Down}
	if c.holds {
		for _, f := range a.state.Holds {
			n.faults = append(n.faults, f.Name)
		}
	}
	switch {
	case a.state.Failed != "" && a.state.Failed != a.complaint:
		n.complaint, a.complaint = a.state.Failed, a.state.Failed
	case a.complaint != "" && a.state.Failed == "" && a.failingSince.IsZero() && !a.isLost:
		n.recovered, a.complaint = true, ""
	}
	return n
}

// tell passes news on. The Keeper's mutex must not be held.
func (k *Keeper) tell(n news) {
	log := k.options.Log
	if n.holds && !n.isLost {
		log.V(1).Info("agent has confirmed its faults", "pod", n.pod, "count", len(n.faults), "faults", n.faults)
	}
	if len(n.leftovers) > 0 {
		log.Info("agent has ended faults of an earlier controller that nobody asks for", "pod", n.pod, "count", len(n.leftovers), "faults", n.leftovers)
	}
	switch {
	case n.complaint != "" && n.isLost:
		log.Info("agent does not answer, so what it holds is not known; trying again", "pod", n.pod, "why", n.complaint)
	case n.complaint != "":
		log.Info("agent does not hold its faults; trying again", "pod", n.pod, "why", n.complaint)
	}
	if n.recovered {
		log.Info("agent holds its faults again", "pod", n.pod)
	}
	if n.isSome() {
		k.options.Changed(n.cluster)
	}
	if len(n.putRight) > 0 {
		k.metrics.putRight.Inc()
		k.options.PutRight(n.cluster, *n.target, n.putRight)
	}
}
