package report

import (
	"slices"

	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/plugin/look"
)

// wanted is what the agents are to hold of what is in force, by their pods' names.
type wanted map[string][]decide.Fault

// objects returns the names of the faults and topologies that the agent of a pod is to hold, in
// order.
func (w wanted) objects(pod string) []string {
	var all []string
	for _, f := range w[pod] {
		all = append(all, names(f.Objects)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// names returns the names of objects.
func names(keys []string) []string {
	var all []string
	for _, key := range keys {
		name, _ := compile.CutTopologyKey(key)
		all = append(all, name)
	}
	return all
}

// compare says of each fault that an agent holds what it comes from, and what the agent lacks.
// Where something may not be seen, what an agent is to hold is not known for sure, and then it
// lacks nothing, and has nothing left.
func (w wanted) compare(p *Pod, c *look.Cluster) {
	if p.Agent.State != Answers {
		return
	}
	isSure := len(c.Unseen) == 0
	for _, f := range w[p.Name] {
		i := slices.IndexFunc(p.Agent.Faults, func(h Held) bool { return h.Name == f.Name && !h.isByHand() })
		if i >= 0 {
			p.Agent.Faults[i].Objects = names(f.Objects)
		} else if isSure {
			p.Lacks = append(p.Lacks, names(f.Objects)...)
		}
	}
	slices.Sort(p.Lacks)
	p.Lacks = slices.Compact(p.Lacks)
	for i := range p.Agent.Faults {
		h := &p.Agent.Faults[i]
		h.IsLeft = isSure && !h.isByHand() && len(h.Objects) == 0
	}
}
