package decide

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Input is what is known of a TidbCluster at a moment. Decide changes none of it.
type Input struct {
	// Cluster is nil if there is no such TidbCluster, or no more.
	Cluster *tcv1alpha1.TidbCluster
	// Pods are those of the TidbCluster that have not ended, in any order.
	Pods []Pod
	// Faults are the NetworkFaults that name the TidbCluster, in any order.
	Faults []*v1alpha1.NetworkFault
	// Topologies are the NetworkTopologies that name it, in any order.
	Topologies []*v1alpha1.NetworkTopology
	// Hold are the names of faults, and those that compile.TopologyKey makes of the names of
	// topologies, that must not start now, because their start could not be written.
	Hold map[string]bool
	Now  time.Time
}

// Pod is a pod of a TidbCluster.
type Pod struct {
	Name      string
	Component tidbcluster.Component
	// Zone is that of the pod's node; empty if the node has none, or is not known.
	Zone string
	// NodeLabels are those of the pod's node; nil if it has none, or is not known.
	NodeLabels map[string]string
	// Unscheduled is whether it is on no node yet.
	Unscheduled bool
	// Addrs are its addresses; none before it has a network.
	Addrs []netip.Addr
	// HostNetwork is whether its network is the node's.
	HostNetwork bool
	// Agent is whether it has an agent, which may be down for a while.
	Agent bool
	// AgentEnded is whether the agent that it had was attached and has ended: nobody starts
	// that one again. Then Agent is false.
	AgentEnded bool
	// Ready is whether its component's container is ready, whatever its agent is.
	Ready bool
	// State is what is known of its agent.
	State AgentState
}

// AgentState is what is known of what an agent holds.
type AgentState struct {
	// Holds are the faults that the agent confirmed last; none if what it holds is not
	// known.
	Holds []compile.Fault
	// Known is whether the agent has said so, and Holds is all of it.
	Known bool
	// Failed says in a sentence why it does not hold what it should; empty if it does, or
	// while it is being asked for the first time.
	Failed string
	// Silent is whether it has not answered for a while, for the reason in Failed. It may
	// hold any of its faults or none.
	Silent bool
	// Down is whether it is known not to run. Like one that is silent, it may hold any of
	// its faults or none.
	Down bool
	// Refused are the faults that it refused for what they are, and will refuse again;
	// Failed has the agent's words.
	Refused []compile.Fault
	// Warnings are what the agent warns of about the faults that it holds.
	Warnings []Warning
}

// Warning is what an agent says of a fault that it holds and that does not do to packets all
// that it should.
type Warning struct {
	// Objects are the names of the faults that it comes from.
	Objects []string
	// Text is a sentence that names them.
	Text string
}

// Decision is what is to become of the faults and topologies of a TidbCluster.
type Decision struct {
	// Statuses has what the status of each fault is to be, by the fault's name. A fault
	// that is being deleted is not in it.
	Statuses map[string]v1alpha1.NetworkFaultStatus
	// Topologies has the same of each topology, by its name.
	Topologies map[string]v1alpha1.NetworkTopologyStatus
	// Faults has what the agent of each pod is to hold, by the pod's name. Every pod
	// with an agent and an address is in it.
	Faults map[string][]Fault
	// Zones has the zone of each pod by the topology that is in force, by the pod's name; nil
	// without one.
	Zones map[string]string
	// Broken has the rules of safety that an object breaks and does not allow, by the name of a
	// fault, or what compile.TopologyKey makes of that of a topology. The reason in its status is
	// the first of them.
	Broken map[string][]v1alpha1.Allowance
	// Next is when one of them ends, or is refused if it still has to wait; zero if none will.
	Next time.Time
}

// Fault is a fault of a pod and when it ends.
type Fault struct {
	compile.Fault
	// End is when the first of its objects ends; zero if none of them does by itself.
	End time.Time
}

// Decide decides about the faults and topologies of a TidbCluster. One that is being deleted
// is in force no more.
func Decide(in Input) Decision {
	d := decision{Input: in, plans: map[string]compile.Plan{}, result: Decision{
		Statuses: map[string]v1alpha1.NetworkFaultStatus{}, Topologies: map[string]v1alpha1.NetworkTopologyStatus{},
		Broken: map[string][]v1alpha1.Allowance{},
	}}
	d.Pods = apart(slices.SortedFunc(slices.Values(in.Pods), func(a, b Pod) int { return cmp.Compare(a.Name, b.Name) }))
	objects := d.inForce()
	objects = d.oneTopology(objects)
	objects = d.mayStart(objects)
	objects = d.resolve(objects)
	objects = d.awaitHealth(objects)
	objects = d.combine(objects)
	objects = d.judge(objects)
	objects = d.takeBack(objects)
	d.apply(objects)
	return d.result
}

// decision is a Decision in the making. Each step returns the objects that are still in
// force after it, in order of precedence, and settles the status of the others.
type decision struct {
	Input
	// plans are the compilations that were made, by the names of their objects.
	plans  map[string]compile.Plan
	result Decision
}

// find returns the pod with a name, or nil.
func (d *decision) find(name string) *Pod {
	if i := slices.IndexFunc(d.Pods, func(p Pod) bool { return p.Name == name }); i >= 0 {
		return &d.Pods[i]
	}
	return nil
}
