// Package preview says what would become of an object before it is written: which pods have
// it, what happens to packets between them by all objects together, and whether safety lets it
// start. It has package decide decide, as the controller does.
//
// The package is pure.
package preview

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// Preview is what would become of an object.
type Preview struct {
	Object client.Object
	// Life is what its status would say first.
	Life v1alpha1.Life
	// Broken are the rules of safety that it breaks and does not allow.
	Broken []v1alpha1.Allowance
	// Changes are the fields that differ from those of the object that is there, but for how long
	// it lasts, and Ended is how that one ends; none and "" where there is none.
	Changes []object.Difference
	Ended   string
	// Selected are the pods of a fault, by selector.
	Selected []v1alpha1.SelectedPod
	// Zones are the zones of a topology and Unzoned the pods in none.
	Zones   []v1alpha1.ZonePods
	Unzoned []string
	// Holders are the pods whose agents would hold it.
	Holders []string
	// Down are those of the Holders whose agents don't run now, each with how its agent is.
	Down []string
	// Groups are pairs of groups of pods and what happens between them.
	Groups []Group
	// Others are the names of those that are refused of the objects that are asked for together
	// with it: then none of them is written.
	Others []string
	// Hidden names what may not be read, so that none of this counts it: "NetworkFaults".
	Hidden []string
}

// Group is all pairs of pods of two groups: components, or zones of a topology.
type Group struct {
	A, B string
	// Pairs is how many pairs the object is about, and Cut at how many of them there is a
	// partition. What follows is of the others.
	Pairs, Cut int
	// Least and Most are what is added to a round trip, jitter included, at the pair that it
	// is least and most for.
	Least, Most time.Duration
	// Jitter is whether the times differ by jitter.
	Jitter bool
	// Loss is the highest chance of a packet to be lost.
	Loss fault.Percent
}

// Of previews objects that are asked for together. in is what is known without them; one of the
// name of one of them there is replaced by it. No other object ends for them: one that is new or
// was changed is refused instead.
func Of(in decide.Input, wanted ...client.Object) []Preview {
	in.Faults, in.Topologies = slices.Clone(in.Faults), slices.Clone(in.Topologies)
	all := make([]Preview, 0, len(wanted))
	for _, o := range wanted {
		o = o.DeepCopyObject().(client.Object)
		o.SetGeneration(o.GetGeneration() + 1)
		if o.GetCreationTimestamp().Time.IsZero() {
			o.SetCreationTimestamp(metav1.NewTime(in.Now))
		}
		switch o := o.(type) {
		case *v1alpha1.NetworkFault:
			in.Faults = append(slices.DeleteFunc(in.Faults, func(f *v1alpha1.NetworkFault) bool { return f.Name == o.Name }), o)
		case *v1alpha1.NetworkTopology:
			in.Topologies = append(slices.DeleteFunc(in.Topologies, func(t *v1alpha1.NetworkTopology) bool { return t.Name == o.Name }), o)
		}
		all = append(all, Preview{Object: o})
	}
	after := decide.Decide(in)
	for i := range all {
		all[i].see(in, after)
	}
	others(all)
	return all
}

// others says of each object which of the others are refused.
func others(all []Preview) {
	for i := range all {
		for j := range all {
			if j != i && all[j].Life.Phase == v1alpha1.Refused {
				all[i].Others = append(all[i].Others, all[j].Object.GetName())
			}
		}
	}
}

// see fills in what was decided.
func (p *Preview) see(in decide.Input, after decide.Decision) {
	if object.Kind(p.Object) == object.Topology {
		status := after.Topologies[p.Object.GetName()]
		p.Life, p.Zones, p.Unzoned = status.Life, status.Zones, status.Unzoned
	} else {
		status := after.Statuses[p.Object.GetName()]
		p.Life, p.Selected = status.Life, status.Selected
	}
	p.Holders, p.Broken = after.Holders(object.Key(p.Object)), after.Broken[object.Key(p.Object)]
	p.Groups = p.groups(in, after)
}

// groups puts the pairs of pods into pairs of groups.
func (p *Preview) groups(in decide.Input, after decide.Decision) []Group {
	key, group := object.Key(p.Object), map[string]string{}
	for _, pod := range in.Pods {
		group[pod.Name] = string(pod.Component)
	}
	if len(p.Zones) > 0 {
		clear(group)
		for _, z := range p.Zones {
			for _, pod := range z.Pods {
				group[pod] = "zone " + z.Name
			}
		}
	}
	jitter := hasJitter(key, after)
	var all []Group
	for pair, effect := range after.Effects(key, in.Pods) {
		a, b := group[pair.A], group[pair.B]
		if a > b {
			a, b = b, a
		}
		i := slices.IndexFunc(all, func(g Group) bool { return g.A == a && g.B == b })
		if i < 0 {
			i = len(all)
			all = append(all, Group{A: a, B: b, Jitter: jitter})
		}
		all[i].add(effect)
	}
	slices.SortFunc(all, func(a, b Group) int { return cmp.Or(cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B)) })
	return all
}

func (g *Group) add(e compile.Effect) {
	g.Pairs++
	if e.Partition {
		g.Cut++
		return
	}
	if g.Pairs-g.Cut == 1 { // the first of them
		g.Least = e.RTT
	}
	g.Least, g.Most = min(g.Least, e.RTT), max(g.Most, e.RTT)
	g.Loss = max(g.Loss, e.Loss)
}

// hasJitter reports whether packets of an object meet jitter.
func hasJitter(key string, d decide.Decision) bool {
	for _, faults := range d.Faults {
		if slices.ContainsFunc(faults, func(f decide.Fault) bool { return f.Impairment.Jitter > 0 && slices.Contains(f.Objects, key) }) {
			return true
		}
	}
	return false
}
