package verify

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// MaxTasks is how many pairs an agent measures at most.
const MaxTasks = 8

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
	// Unseen says of objects, by name, why nothing of them is measured.
	Unseen map[string]string
}

// New chooses the pairs to measure, and the counters to read: those of each fault that they
// show. For each object they cover the pods that it is between,
// and its pairs of components and of zones, in either family of addresses, as far as MaxTasks
// for each agent allow. The same pods, in any order, come to the same plan.
func New(pods []Pod) Plan {
	p := planner{
		byAddr: map[netip.Addr]int{}, tries: map[item]int{}, load: map[string]int{},
		plan: Plan{Unseen: map[string]string{}},
	}
	p.pods = slices.DeleteFunc(slices.Clone(pods), func(p Pod) bool { return p.Agent == Lost })
	slices.SortFunc(p.pods, func(a, b Pod) int { return strings.Compare(a.Name, b.Name) })
	for i, pod := range p.pods {
		for _, addr := range pod.Addrs {
			p.byAddr[addr] = i
		}
	}
	for i := range p.pods {
		p.cover(i)
	}
	for i := range p.pods {
		p.count(&p.pods[i])
	}
	for object := range p.plan.Unseen {
		if slices.ContainsFunc(p.plan.Tasks, func(t Task) bool { return slices.Contains(t.Objects, object) }) {
			delete(p.plan.Unseen, object)
		}
	}
	slices.SortFunc(p.plan.Tasks, func(a, b Task) int {
		return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.To, b.To), a.Addr.Compare(b.Addr), cmp.Compare(a.Port, b.Port), strings.Compare(a.Counted.Fault, b.Counted.Fault))
	})
	return p.plan
}

// planner makes a Plan.
type planner struct {
	pods   []Pod // by name, without those that are lost
	byAddr map[netip.Addr]int
	// tries is how often it was tried to cover an item: enough of it for one that is.
	tries map[item]int
	// load is how many tasks the agent of a pod has.
	load map[string]int
	plan Plan
}

// enough is how many pairs are tried for an item.
const enough = 4

// item is what is to be covered: an object at a pod, or an object between the components and
// zones of two pods.
type item struct {
	object string
	a, b   place
	v6     bool
}

type place struct {
	component tidbcluster.Component
	zone, pod string
}

// items returns what a task covers: first the components and zones, then each pod.
func items(object string, a, b *Pod, v6 bool) [3]item {
	first, second := place{a.Component, a.Zone, ""}, place{b.Component, b.Zone, ""}
	if cmp.Or(cmp.Compare(first.component, second.component), cmp.Compare(first.zone, second.zone)) > 0 {
		first, second = second, first
	}
	return [3]item{{object, first, second, v6}, {object: object, a: place{pod: a.Name}}, {object: object, a: place{pod: b.Name}}}
}

// cover adds the tasks that are still needed for what a pod's agent is to hold. Each pod
// begins with another peer, so that not all of them measure to the same one.
func (p *planner) cover(i int) {
	for _, f := range p.pods[i].Faults {
		peers := f.Match.Peers
		for k := range peers {
			peer := peers[(k+i)%len(peers)]
			j, ok := p.byAddr[peer.Addr()]
			for _, object := range f.Objects {
				switch {
				case !peer.IsSingleIP() || !ok:
					if p.plan.Unseen[object] == "" {
						p.plan.Unseen[object] = "it is for addresses outside the pods, or for pods of which nobody knows what they hold"
					}
				case j != i:
					p.try(object, &p.pods[i], &p.pods[j], peer.Addr().Is6())
				}
			}
		}
	}
}

// try adds a task for an object between two pods if that covers the first of them, or their
// components and zones. The other pod looks for a peer itself, so that not all of them have
// the same one.
func (p *planner) try(object string, a, b *Pod, v6 bool) {
	all := items(object, a, b, v6)
	wanted := all[:2]
	if !slices.ContainsFunc(wanted, func(i item) bool { return p.tries[i] < enough }) {
		return
	}
	if p.load[b.Name] < p.load[a.Name] {
		a, b = b, a
	}
	for _, pair := range [][2]*Pod{{a, b}, {b, a}} {
		if p.add(object, pair[0], pair[1], v6) {
			return
		}
	}
	for _, i := range wanted {
		p.tries[i]++
	}
}

// add adds the task for an object that one pod measures to another, and reports whether
// there is one.
func (p *planner) add(object string, from, to *Pod, v6 bool) bool {
	if from.Agent == NoAgent {
		return false
	}
	r, ok := newRoute(from, to, v6)
	if !ok {
		return false
	}
	why := "neither a handshake nor a ping meets it"
	for _, port := range targets(to, r.here.faults, r.there.faults) {
		asked, objects := r.asked(port)
		if !slices.Contains(objects, object) {
			continue
		}
		if why = asked.cannot(port == 0); why != "" {
			continue
		}
		if p.load[from.Name] == MaxTasks {
			why = "the agents of its pods have enough to measure"
			break
		}
		p.load[from.Name]++
		p.plan.Tasks = append(p.plan.Tasks, Task{
			Check:   Check{From: from.Name, To: to.Name, Addr: r.toAddr, Port: port, Asked: asked},
			Objects: objects, Waits: from.Agent == AskedNow || to.Agent == AskedNow,
		})
		for _, o := range objects {
			for _, i := range items(o, from, to, v6) {
				p.tries[i] = enough
			}
		}
		return true
	}
	p.plan.Unseen[object] = why
	return false
}

// count adds a task for each fault of a pod that its agent's counters show.
func (p *planner) count(pod *Pod) {
	if pod.Agent == NoAgent {
		return
	}
	for _, f := range pod.Faults {
		counted, why := newCounted(f.Fault)
		if counted.Fault != "" {
			p.plan.Tasks = append(p.plan.Tasks, Task{
				Check: Check{From: pod.Name, Counted: counted}, Objects: f.Objects, Waits: pod.Agent == AskedNow,
			})
		}
		if why != "" {
			for _, object := range f.Objects {
				p.plan.Unseen[object] = why
			}
		}
	}
}
