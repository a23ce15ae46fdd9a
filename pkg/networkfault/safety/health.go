package safety

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// problem is what is not healthy, and the pods that it is about, by name.
type problem struct {
	text string
	pods []string
}

// problems returns what is not healthy, but for the victims of the faults that run.
func (f Facts) problems(victims map[string]bool) []problem {
	var all []problem
	if f.paused {
		all = append(all, problem{text: "TiDB Operator does not look after the TidbCluster (spec.paused), and its status is old"})
	}
	all = append(all, f.unsynced(victims)...)
	all = append(all, f.sick(victims)...)
	for _, c := range f.components {
		if ready, others := f.ready(c.name, victims); ready < int(c.replicas) {
			all = append(all, problem{fmt.Sprintf("%d of %d pods of %s are ready", ready, c.replicas, c.name), others})
		}
	}
	return all
}

// IsShort reports whether the TidbCluster has fewer pods than its spec asks for, as while one is
// replaced.
func (f Facts) IsShort() bool {
	have := map[tidbcluster.Component]int{}
	for _, p := range f.pods {
		have[p.Component]++
	}
	return slices.ContainsFunc(f.components, func(c component) bool { return have[c.name] < int(c.replicas) })
}

// Unready returns what of PD and of the stores is not healthy, one sentence for each
// component, whatever else is; nothing when they have come up.
func (f Facts) Unready() []string {
	var all []string
	say := func(component tidbcluster.Component, things, state string, have int) {
		if want := int(f.component(component).replicas); have < want {
			all = append(all, fmt.Sprintf("%d of %d %s of %s are %s", have, want, things, component, state))
		}
	}
	healthy := 0
	for _, m := range f.members {
		if m.healthy {
			healthy++
		}
	}
	say(tidbcluster.PD, "members", "healthy", healthy)
	say(tidbcluster.TiKV, "stores", "up", countUp(f.tikv))
	say(tidbcluster.TiFlash, "stores", "up", countUp(f.tiflash))
	return all
}

// countUp returns how many stores are up.
func countUp(stores []store) (up int) {
	for _, s := range stores {
		if s.isUp() {
			up++
		}
	}
	return up
}

// unsynced returns what the status does not know.
func (f Facts) unsynced(victims map[string]bool) []problem {
	var all []problem
	for _, c := range f.components {
		if c.replicas > 0 && !c.synced && !f.isAffected(c.name, victims) {
			all = append(all, problem{text: fmt.Sprintf("TiDB Operator could not ask %s lately (%s.synced is false)", c.name, c.status)})
		}
	}
	if f.component(tidbcluster.PD).replicas > 0 && len(f.members) == 0 {
		all = append(all, problem{text: "no member of PD is known (status.pd.members)"})
	}
	if f.component(tidbcluster.TiKV).replicas > 0 && len(f.tikv) == 0 {
		all = append(all, problem{text: "no store of TiKV is known (status.tikv.stores)"})
	}
	return all
}

// sick returns the members and stores that are not healthy.
func (f Facts) sick(victims map[string]bool) []problem {
	var all []problem
	about := func(pod, text string) {
		if !victims[pod] {
			all = append(all, problem{text, []string{pod}})
		}
	}
	for _, m := range f.members {
		if !m.healthy {
			about(m.pod, "PD's member "+m.pod+" is not healthy")
		}
	}
	for _, s := range slices.Concat(f.tikv, f.tiflash) {
		if !s.isUp() {
			about(s.pod, fmt.Sprintf("store %s of %s is %s", s.id, s.pod, cmp.Or(s.state, "in no state")))
		}
	}
	for _, m := range f.servers {
		if !m.healthy {
			about(m.pod, "TiDB's member "+m.pod+" is not healthy")
		}
	}
	return all
}

// recovered returns the facts as they will be when the pods, members and stores of PD and
// TiKV are healthy.
func (f Facts) recovered() Facts {
	f.pods, f.members, f.tikv = maps.Clone(f.pods), slices.Clone(f.members), slices.Clone(f.tikv)
	for name := range f.vital {
		p := f.pods[name]
		p.Ready = true
		f.pods[name] = p
	}
	for i := range f.members {
		f.members[i].healthy = true
	}
	for i := range f.tikv {
		f.tikv[i].state = tcv1alpha1.TiKVStateUp
	}
	return f
}

// isAffected reports whether the faults that run may be why a component can't be asked:
// they have a victim of it, or of PD, which knows the others.
func (f Facts) isAffected(component tidbcluster.Component, victims map[string]bool) bool {
	for pod := range victims {
		if f.is(pod, component) || f.is(pod, tidbcluster.PD) {
			return true
		}
	}
	return false
}

// ready returns how many pods of a component are ready or victims, and the others.
func (f Facts) ready(component tidbcluster.Component, victims map[string]bool) (count int, others []string) {
	for _, p := range f.pods {
		switch {
		case p.Component != component:
		case p.Ready || victims[p.Name]:
			count++
		default:
			others = append(others, p.Name)
		}
	}
	slices.Sort(others)
	return count, others
}

// changes returns what TiDB Operator is changing.
func (f Facts) changes() []problem {
	var all []problem
	for _, c := range f.components {
		if c.isNormal() {
			continue
		}
		p := problem{text: fmt.Sprintf("%s.phase is %s", c.status, c.phase)}
		switch {
		case c.phase != "" && c.phase != tcv1alpha1.NormalPhase:
		case c.updating:
			p.text = fmt.Sprintf("the pods of %s are being updated (%s.statefulSet)", c.name, c.status)
		case c.replacing:
			p.text = fmt.Sprintf("the volumes of %s are being replaced (%s.volReplaceInProgress)", c.name, c.status)
		}
		all = append(all, p)
	}
	return all
}
