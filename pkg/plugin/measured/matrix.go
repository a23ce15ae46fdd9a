// Package measured has the round trips between the pods of a TidbCluster: what is asked for,
// by the same code as the controller, and what agents measured.
//
// Of plans what is to be measured (matrix.go). Whoever has agents measure notes what came of
// it (pair.go). By makes a grid of pods, components or zones (grid.go) of cells (cell.go), each
// with what is shown of it (face.go). It is written as a table (table.go), as JSON or as CSV
// (encode.go), and by package heatmap as HTML.
//
// The package is pure.
package measured

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/object"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Matrix is the round trips between all pods of a TidbCluster.
type Matrix struct {
	Namespace, Cluster string
	At                 time.Time
	// InForce are the faults and topologies that are in force.
	InForce []Object
	// Unseen has a sentence for what the person who asks may not see.
	Unseen []string
	// IsAskedKnown is whether it is known what is asked for. If not, nothing is out of
	// tolerance.
	IsAskedKnown bool
	// Pods are in order of their zones if a topology is in force, then of their components,
	// then of their numbers.
	Pods []Pod
	// Pairs are all ordered pairs of two pods, in order of Pods.
	Pairs []*Pair
	// isZoned is whether a topology is in force.
	isZoned bool
}

// Object is a fault or a topology that is in force.
type Object struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	What string `json:"what,omitempty"`
	// At is the pod at whose agent somebody has set the fault by hand; "" for an object.
	At string `json:"at,omitempty"`
	// Doubt says why it would not be in force by what is known here, so that it is not among
	// what is asked for; "" if it is.
	Doubt string `json:"doubt,omitempty"`
}

// Pod is a pod of the TidbCluster.
type Pod struct {
	Name      string
	Component tidbcluster.Component
	// Zone is by the topology that is in force, or that of its node; "" if it has none.
	Zone     string
	HasAgent bool
}

// Of returns what is to be measured between the pods of a TidbCluster at a moment.
func Of(c *look.Cluster, now time.Time) *Matrix {
	m := &Matrix{
		Namespace: c.Key.Namespace, Cluster: c.Key.Name, At: now, Unseen: c.Unseen,
		IsAskedKnown: c.IsAskedKnown(),
	}
	for _, o := range c.Unplaced() {
		m.Unseen = append(slices.Clip(m.Unseen), fmt.Sprintf("%s %s goes by the zones of nodes, so what is asked for is not known", object.Kind(o), o.GetName()))
	}
	decision := c.InForce(now)
	for _, o := range c.Objects() {
		if life := object.Life(o); life.Phase == v1alpha1.Running {
			m.InForce = append(m.InForce, Object{Kind: object.Kind(o), Name: o.GetName(), What: what(o), Doubt: m.doubt(o, decision)})
		}
	}
	zones, by := c.Zones()
	m.isZoned = by != ""
	all := make([]verify.Pod, 0, len(c.Pods))
	for _, p := range c.Pods {
		one := podOf(p, zones[p.Name], decision)
		m.Pods = append(m.Pods, Pod{one.Name, one.Component, one.Zone, one.Agent != verify.NoAgent})
		all = append(all, one)
	}
	slices.SortStableFunc(m.Pods, m.compare)
	slices.SortStableFunc(all, func(a, b verify.Pod) int {
		return m.compare(Pod{Name: a.Name, Component: a.Component, Zone: a.Zone}, Pod{Name: b.Name, Component: b.Component, Zone: b.Zone})
	})
	for i := range all {
		for j := range all {
			if i != j {
				m.Pairs = append(m.Pairs, newPair(&all[i], &all[j], m.IsAskedKnown))
			}
		}
	}
	return m
}

// what says what an object does, and a fault between whom.
func what(o client.Object) string {
	text := object.Life(o).What
	f, is := o.(*v1alpha1.NetworkFault)
	if !is {
		return text
	}
	list := func(side []v1alpha1.Selector) string {
		return strings.Join(strings.Fields(strings.Trim(fmt.Sprint(side), "[]")), ",")
	}
	return fmt.Sprintf("%s from %s to %s", text, list(f.Spec.From), cmp.Or(list(f.Spec.To), "others"))
}

// doubt returns why an object is not in force by a decision.
func (m *Matrix) doubt(o client.Object, decision decide.Decision) string {
	life := decision.Topologies[o.GetName()].Life
	if object.Kind(o) == object.Fault {
		life = decision.Statuses[o.GetName()].Life
	}
	if !m.IsAskedKnown || life.Phase == v1alpha1.Running {
		return ""
	}
	return cmp.Or(life.Message, life.Reason, "it is being deleted")
}

func podOf(p look.Pod, zone string, decision decide.Decision) verify.Pod {
	one := verify.Pod{
		Name: p.Name, Component: p.Facts.Component, Addrs: p.Facts.Addrs, Zone: zone,
	}
	if p.Facts.Agent {
		one.Agent = verify.Holds
	}
	for _, f := range decision.Faults[p.Name] {
		one.Faults = append(one.Faults, f.Fault)
	}
	return one
}

// From returns the pairs that a pod measures.
func (m *Matrix) From(pod string) []*Pair {
	n := len(m.Pods) - 1
	i := slices.IndexFunc(m.Pods, func(p Pod) bool { return p.Name == pod })
	if i < 0 {
		return nil
	}
	return m.Pairs[i*n : (i+1)*n]
}
