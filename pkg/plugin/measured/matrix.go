// Package measured has the round trips between the pods of a TidbCluster: what is asked for,
// by the same code as the controller, and what agents measured.
//
// Of plans what is to be measured (matrix.go). Whoever has agents measure notes what came of
// it. By makes a grid of pods, components or zones (grid.go), which is written as a table
// (table.go), as JSON or as CSV (encode.go), and by package heatmap as HTML.
//
// The package is pure.
package measured

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
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

// Pair is what one pod measures to another.
type Pair struct {
	verify.Result
	// why says why it was not measured; "" if it was, or still can be.
	why string
	// looks counts the measurements, and last is what the last of them says.
	looks int
	last  verify.Judgement
	// isBlind is whether it is not known what is asked for.
	isBlind bool
}

// Of returns what is to be measured between the pods of a TidbCluster at a moment.
func Of(c *look.Cluster, now time.Time) *Matrix {
	m := &Matrix{
		Namespace: c.Key.Namespace, Cluster: c.Key.Name, At: now, Unseen: c.Unseen,
		IsAskedKnown: !c.Blind && !c.Veiled,
	}
	decision := c.InForce(now)
	for _, o := range c.Objects() {
		if life := object.Life(o); life.Phase == v1alpha1.Running {
			m.InForce = append(m.InForce, Object{object.Kind(o), o.GetName(), what(o), m.doubt(o, decision)})
		}
	}
	m.isZoned = decision.Zones != nil
	all := make([]verify.Pod, 0, len(c.Pods))
	for _, p := range c.Pods {
		one := podOf(p, decision)
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

func podOf(p look.Pod, decision decide.Decision) verify.Pod {
	one := verify.Pod{
		Name: p.Name, Component: p.Facts.Component, Addrs: p.Facts.Addrs,
		Zone: cmp.Or(decision.Zones[p.Name], p.Facts.Zone),
	}
	if p.Facts.Agent {
		one.Agent = verify.Holds
	}
	for _, f := range decision.Faults[p.Name] {
		one.Faults = append(one.Faults, f.Fault)
	}
	return one
}

func newPair(from, to *verify.Pod, isAskedKnown bool) *Pair {
	p := &Pair{isBlind: !isAskedKnown}
	p.Check, p.why = verify.Between(from, to)
	if from.Agent == verify.NoAgent {
		p.why = from.Name + " has no agent"
	}
	return p
}

// compare orders pods: neighbours of a heat map are alike.
func (m *Matrix) compare(a, b Pod) int {
	place := func(p Pod) int { return slices.Index(tidbcluster.Components(), p.Component) }
	byZone := 0
	if m.isZoned {
		byZone = strings.Compare(a.Zone, b.Zone)
	}
	return cmp.Or(byZone, cmp.Compare(place(a), place(b)), compareNames(a.Name, b.Name))
}

// compareNames orders names, and those that differ in a number at the end by that.
func compareNames(a, b string) int {
	stemA, numberA := cutNumber(a)
	stemB, numberB := cutNumber(b)
	return cmp.Or(strings.Compare(stemA, stemB), cmp.Compare(numberA, numberB), strings.Compare(a, b))
}

func cutNumber(name string) (string, int) {
	i := strings.LastIndexByte(name, '-')
	number, err := strconv.Atoi(name[i+1:])
	if err != nil {
		return name, -1
	}
	return name[:i+1], number
}

// maxLooks is how often a pair is measured at most. One measurement makes nothing wrong.
const maxLooks = 3

// IsOpen reports whether a pair is to be measured, again or for the first time.
func (p *Pair) IsOpen() bool { return p.why == "" && p.State.IsOpen() && p.looks < maxLooks }

// Note notes a measurement.
func (p *Pair) Note(j verify.Judgement) {
	p.looks++
	p.last = j
	p.State.Note(j)
}

// Fail notes why a pair that is open can't be measured. What was measured before stays,
// without a verdict.
func (p *Pair) Fail(why string) {
	if p.IsOpen() {
		p.why = why
	}
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

// Verdict is whether a pair is as asked for: Right, Wrong or Unknown.
func (p *Pair) Verdict() verify.Verdict {
	if p.isBlind || p.State.Verdict == verify.Pending {
		return verify.Unknown
	}
	return p.State.Verdict
}

// judgement is the measurement that tells most.
func (p *Pair) judgement() verify.Judgement {
	if p.State.Verdict == verify.Pending {
		return p.last
	}
	return p.Because
}

// RTT returns the round trip, and that without faults at the same moment; 0 for one that was
// not measured. It is the median, or the shortest if that is too short.
func (p *Pair) RTT() (measured, baseline time.Duration) {
	j := p.judgement()
	return j.Measured, j.Before
}

// IsCut reports whether there is no answer, as a partition asks for.
func (p *Pair) IsCut() bool { return p.Asked.Cut && p.Verdict() == verify.Right }

// Why says in words why a pair is not as asked for, or why that is not known; "" if it is.
func (p *Pair) Why() string {
	switch {
	case p.why != "":
		return p.why
	case p.looks == 0:
		return "it was not measured"
	case p.isBlind:
		if rtt, _ := p.RTT(); rtt > 0 {
			return ""
		}
		return "no answer"
	case p.State.Verdict == verify.Pending:
		return "its measurements contradict each other"
	default:
		return p.Explain()
	}
}
