package verify

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// MaxTasks is how many pairs an agent measures at most. It has more than half of that only of
// pairs of which the other agent has half too, or can't measure.
const MaxTasks = 16

// Pod is a pod of a TidbCluster, and what its agent is to hold.
type Pod struct {
	Name      string
	Component tidbcluster.Component
	Zone      string
	Addrs     []netip.Addr
	Agent     Agent
	Faults    []compile.Fault
}

// Agent is what is known of the agent of a pod.
type Agent int

const (
	// NoAgent is for a pod without one, which can only be measured to.
	NoAgent Agent = iota
	// Holds is for one that has confirmed what it is to hold.
	Holds
	// AskedNow is for one that was asked a moment ago, and may confirm it soon.
	AskedNow
	// Lost is for one that does not hold it, or of which nobody knows. Its pod takes no part.
	Lost
)

// addr returns the pod's address of a family.
func (p *Pod) addr(v6 bool) (netip.Addr, bool) {
	i := slices.IndexFunc(p.Addrs, func(a netip.Addr) bool { return a.Is6() == v6 })
	if i < 0 {
		return netip.Addr{}, false
	}
	return p.Addrs[i], true
}

// Plan is what to measure.
type Plan struct {
	// Tasks are in order of the pods that measure.
	Tasks []Task
	// Unseen says of objects, by name, what of them is not measured.
	Unseen map[string]Unseen
}

// Unseen is what of an object is not measured. The zero value is for an object of which
// everything is.
type Unseen struct {
	// Why says why something of it is not measured, and what where others are; empty if all is.
	Why string
	// NoPair is whether it has a delay or a partition of its own, and no pair to show it.
	NoPair bool
}

// New chooses the pairs to measure, and the faults whose counters are read. For each object
// the pairs cover the pods that it is between, and its pairs of components and of zones, in
// either family of addresses, as far as MaxTasks for each agent allow. The same pods, in any
// order, come to the same plan, and a pod that comes or goes leaves the pairs of others as
// they are: most of what is known stays known.
func New(pods []Pod) Plan {
	p := planner{items: map[item]coverage{}, load: map[string]int{}, why: map[string]reason{}, noPair: map[string]bool{}}
	p.pods = slices.DeleteFunc(slices.Clone(pods), func(p Pod) bool { return p.Agent == Lost })
	slices.SortFunc(p.pods, func(a, b Pod) int { return strings.Compare(a.Name, b.Name) })
	for _, pair := range p.pairs() {
		for _, object := range pair.objects {
			p.try(object, pair)
		}
		for _, object := range pair.hidden {
			p.hide(object, pair)
		}
	}
	p.tellUncovered()
	for i := range p.pods {
		p.count(&p.pods[i])
	}
	slices.SortFunc(p.tasks, func(a, b Task) int { return a.Compare(&b.Check) })
	unseen := make(map[string]Unseen, len(p.why))
	for object, why := range p.why {
		unseen[object] = Unseen{Why: why.text, NoPair: p.noPair[object]}
	}
	return Plan{Tasks: p.tasks, Unseen: unseen}
}

// planner makes a Plan.
type planner struct {
	pods  []Pod // by name, without those that are lost
	items map[item]coverage
	// load is how many tasks the agent of a pod has.
	load map[string]int
	// tasks are those of the Plan.
	tasks []Task
	// why is why something of an object is not measured, and noPair has those of which no pair
	// shows the delay or the partition.
	why    map[string]reason
	noPair map[string]bool
}

// item is what is to be covered: an object at a pod, or an object between the components and
// zones of two pods.
type item struct {
	object string
	a, b   place
	v6     bool
}

// coverage is whether an item is covered, or how often it was tried, and why it is not.
type coverage struct {
	isCovered bool
	tries     int
	why       reason
}

// enough is how many pairs are tried for an item.
const enough = 4

type place struct {
	component tidbcluster.Component
	zone, pod string
}

func (p place) String() string {
	if p.zone == "" {
		return string(p.component)
	}
	return fmt.Sprintf("%s in zone %s", p.component, p.zone)
}

// String says what is to be covered.
func (i item) String() string {
	switch {
	case i.a.pod != "":
		return "of pod " + i.a.pod
	case i.v6:
		return fmt.Sprintf("between %s and %s by IPv6", i.a, i.b)
	default:
		return fmt.Sprintf("between %s and %s", i.a, i.b)
	}
}

// items returns what a task covers: first the components and zones, then each pod.
func items(object string, a, b *Pod, v6 bool) [3]item {
	first, second := place{a.Component, a.Zone, ""}, place{b.Component, b.Zone, ""}
	if cmp.Or(cmp.Compare(first.component, second.component), cmp.Compare(first.zone, second.zone)) > 0 {
		first, second = second, first
	}
	return [3]item{{object, first, second, v6}, {object: object, a: place{pod: a.Name}}, {object: object, a: place{pod: b.Name}}}
}

// try adds a task for an object between two pods if that covers one of them, or their
// components and zones. Which of them measures, their names decide too.
func (p *planner) try(object string, pair *pair) {
	wanted := items(object, pair.from, pair.to, pair.v6)
	isOpen := func(i item) bool { return !p.items[i].isCovered && p.items[i].tries < enough }
	if !slices.ContainsFunc(wanted[:], isOpen) {
		return
	}
	var why reason
	var rest []Task // of agents that have half of MaxTasks
	for _, way := range [][2]*Pod{{pair.from, pair.to}, {pair.to, pair.from}} {
		if way[0].Agent == NoAgent {
			continue
		}
		task, not := newTask(object, way[0], way[1], pair.v6)
		switch {
		case not.rank > 0:
			why = why.or(not)
		case p.load[task.From] < MaxTasks/2:
			p.add(task, pair)
			return
		default:
			rest = append(rest, task)
		}
	}
	for _, task := range rest {
		if p.load[task.From] < MaxTasks {
			p.add(task, pair)
			return
		}
		why = why.or(reason{full, "the agents of its pods have enough to measure"})
	}
	for _, i := range wanted {
		if c := p.items[i]; !c.isCovered {
			p.items[i] = coverage{tries: c.tries + 1, why: c.why.or(why)}
		}
	}
}

// hide notes of what nobody has tried that a pair does not show it. It is not a try: others may.
func (p *planner) hide(object string, pair *pair) {
	for _, i := range items(object, pair.from, pair.to, pair.v6) {
		if c := p.items[i]; !c.isCovered && c.why.rank == 0 {
			p.items[i] = coverage{why: cutOffBy(pair.cuts)}
		}
	}
}

// newTask returns the task for an object that one pod measures to another, or says why there
// is none.
func newTask(object string, from, to *Pod, v6 bool) (Task, reason) {
	r, ok := newRoute(from, to, v6)
	if !ok {
		return Task{}, reason{unmet, "chance decides which handshakes meet it, by the port that they come from"}
	}
	var why reason
	for _, port := range targets(to, r.here.faults, r.there.faults) {
		asked, shown, hidden := r.asked(port)
		if slices.Contains(hidden, object) {
			why = why.or(cutOffBy(shown))
		}
		if !slices.Contains(shown, object) {
			continue
		}
		if cannot := asked.cannot(port == 0); cannot != "" {
			why = why.or(reason{unshown, cannot})
			continue
		}
		return Task{
			Check:   Check{From: from.Name, To: to.Name, Addr: r.toAddr, Port: port, Asked: asked},
			Objects: shown, Waits: from.Agent == AskedNow || to.Agent == AskedNow,
		}, reason{}
	}
	return Task{}, cmp.Or(why, reason{unmet, "neither a handshake nor a ping meets it"})
}

// add adds a task for a pair. It covers all that it shows.
func (p *planner) add(task Task, pair *pair) {
	p.load[task.From]++
	p.tasks = append(p.tasks, task)
	for _, object := range task.Objects {
		for _, i := range items(object, pair.from, pair.to, pair.v6) {
			p.items[i] = coverage{isCovered: true}
		}
	}
}

// count adds a task for each fault of a pod that its agent's counters show, and notes what
// they don't show.
func (p *planner) count(pod *Pod) {
	if pod.Agent == NoAgent {
		return
	}
	for _, f := range pod.Faults {
		counted, why := newCounted(f.Fault)
		if counted.Fault != "" {
			p.tasks = append(p.tasks, Task{
				Check: Check{From: pod.Name, Counted: counted}, Objects: f.Objects, Waits: pod.Agent == AskedNow,
			})
		}
		if why != "" {
			for _, object := range f.Objects {
				p.unseen(object, reason{notCounted, why})
			}
		}
	}
}
