package decide

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
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
	// Hold are the names of faults that must not start now, because their start could
	// not be written.
	Hold map[string]bool
	Now  time.Time
}

// Pod is a pod of a TidbCluster.
type Pod struct {
	Name      string
	Component tidbcluster.Component
	// Zone is that of the pod's node; empty if the node has none, or is not known.
	Zone string
	// Addrs are its addresses; none before it has a network.
	Addrs []netip.Addr
	// HostNetwork is whether its network is the node's.
	HostNetwork bool
	// Agent is whether it has an agent.
	Agent bool
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

// Decision is what is to become of the faults of a TidbCluster.
type Decision struct {
	// Statuses has what the status of each fault is to be, by the fault's name. A fault
	// that is being deleted is not in it.
	Statuses map[string]v1alpha1.NetworkFaultStatus
	// Faults has what the agent of each pod is to hold, by the pod's name. Every pod
	// with an agent and an address is in it.
	Faults map[string][]Fault
	// Next is when a fault ends, or is refused if it still has to wait; zero if none will.
	Next time.Time
}

// Fault is a fault of a pod and when it ends.
type Fault struct {
	compile.Fault
	// End is when the first of its objects ends; zero if none of them does by itself.
	End time.Time
}

// Decide decides about the faults of a TidbCluster. A fault that is being deleted is in
// force no more.
func Decide(in Input) Decision {
	d := decision{Input: in, plans: map[string]compile.Plan{}, result: Decision{Statuses: map[string]v1alpha1.NetworkFaultStatus{}}}
	d.Pods = slices.SortedFunc(slices.Values(in.Pods), func(a, b Pod) int { return cmp.Compare(a.Name, b.Name) })
	objects := d.inForce()
	objects = d.resolve(objects)
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

// object is a fault that may be in force.
type object struct {
	*v1alpha1.NetworkFault
	parsed
	from, to []string // names of pods
	cidrs    []netip.Prefix
	bare     []string // selected pods that can't have it
	// status is what its status is to be.
	status v1alpha1.NetworkFaultStatus
}

// runs reports whether the fault has been in force as it is now.
func (o *object) runs() bool {
	return o.Status.Phase == v1alpha1.Running && o.Status.ObservedGeneration == o.Generation
}

// isSettled reports whether nothing can bring the fault into force any more, but for a
// change of one that was refused.
func (o *object) isSettled() bool {
	isRefused := o.Status.Phase == v1alpha1.Refused && o.Status.ObservedGeneration == o.Generation
	return isRefused || o.Status.Phase == v1alpha1.Ended
}

// settle notes what the status of an object is to be.
func (d *decision) settle(o *object) {
	o.status.ObservedGeneration = o.Generation
	for i := range o.status.Conditions {
		o.status.Conditions[i].ObservedGeneration = o.Generation
	}
	d.result.Statuses[o.Name] = o.status
}

// refuse settles an object that must not be in force. One that was in force, and that
// nobody has changed, has ended.
func (d *decision) refuse(o *object, reason, message string) {
	phase, end := v1alpha1.Refused, triedAgain
	if o.runs() {
		phase, end = v1alpha1.Ended, hasEnded
	}
	d.stop(o, phase, reason, withEnd(message, end))
}

// What the message of a fault ends with that is refused, or that has ended too early.
const (
	triedAgain = "It is tried again when it is changed or created again."
	hasEnded   = "A fault that has ended can't be changed: delete it and create it again."
)

// withEnd returns a message that ends with a sentence, also if the rest has to be cut.
func withEnd(message, end string) string {
	const most = 900 // bytes
	if len(message) > most {
		message = strings.ToValidUTF8(message[:most], "") + "..."
	}
	if !strings.HasSuffix(message, ".") {
		message += "."
	}
	return message + " " + end
}

// stop settles an object that is not in force.
func (d *decision) stop(o *object, phase v1alpha1.Phase, reason, message string) {
	message = tidbcluster.EventNote(message) // short enough for an Event is short enough here
	o.status.Phase, o.status.Reason, o.status.Message, o.status.Applied = phase, reason, message, ""
	if phase == v1alpha1.Refused {
		o.status.ExpiresAt = nil
	}
	o.endLook()
	d.setCondition(o, v1alpha1.Applied, false, string(phase), message)
	d.settle(o)
}

// inForce returns the objects that are to be in force as far as they alone say. Those
// that run come before those that have run, and these before others.
func (d *decision) inForce() []*object {
	all := make([]*object, 0, len(d.Faults))
	for _, f := range d.Faults {
		if f.DeletionTimestamp.IsZero() {
			all = append(all, &object{NetworkFault: f, status: *f.Status.DeepCopy()})
		}
	}
	slices.SortFunc(all, func(a, b *object) int {
		return cmp.Or(a.rank()-b.rank(), a.started().Compare(b.started()), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return slices.DeleteFunc(all, func(o *object) bool { return !d.lives(o) })
}

// rank is lower for a fault that goes on if it can't be combined with others.
func (o *object) rank() int {
	if o.Status.Phase == v1alpha1.Running {
		return 0
	}
	return 1
}

// started returns when a fault started, which is far away for one that has not.
func (o *object) started() time.Time {
	if o.Status.StartedAt == nil {
		return time.Unix(1<<40, 0)
	}
	return o.Status.StartedAt.Time
}

// lives reports whether an object is to be in force as far as it alone and its cluster
// say, and settles it if not.
func (d *decision) lives(o *object) bool {
	if o.isSettled() {
		d.result.Statuses[o.Name] = o.Status
		return false
	}
	if err := o.parse(); err != nil {
		d.refuse(o, err.reason, err.message)
		return false
	}
	o.status.What = o.what()
	if o.expire(); o.status.ExpiresAt != nil && !d.Now.Before(o.status.ExpiresAt.Time) {
		d.stop(o, v1alpha1.Ended, ReasonExpired, "its time is over")
		return false
	}
	switch {
	case d.isGone(o) && o.Status.StartedAt != nil:
		d.stop(o, v1alpha1.Ended, ReasonClusterNotFound, "TidbCluster "+o.Spec.Cluster+" is gone")
	case d.isGone(o):
		d.stop(o, v1alpha1.Pending, ReasonClusterNotFound, "there is no TidbCluster "+o.Spec.Cluster+" in this namespace")
	case isProtected(d.Cluster.Annotations):
		d.refuse(o, ReasonProtected, "TidbCluster "+o.Spec.Cluster+" takes no fault, by its annotation "+tidbcluster.ProtectAnnotation)
	case !tidbcluster.ParseOptIn(d.Cluster.Annotations).Inject:
		d.refuse(o, ReasonNotInjected, d.howToInject())
	case o.Spec.Paused:
		d.stop(o, v1alpha1.Paused, ReasonPaused, "spec.paused is true")
	case d.Hold[o.Name] && o.Status.StartedAt == nil:
		d.stop(o, v1alpha1.Pending, ReasonStarting, "its start could not be written yet")
	default:
		return true
	}
	return false
}

// howToInject says what a TidbCluster needs that does not ask for agents.
func (d *decision) howToInject() string {
	text := fmt.Sprintf(`TidbCluster %s does not ask for agents: set its annotation %s: "true"`, d.Cluster.Name, tidbcluster.InjectAnnotation)
	if slices.ContainsFunc(d.Pods, func(p Pod) bool { return !p.Agent }) {
		text += " and restart its pods, of which some have none"
	}
	return text
}

// isGone reports whether an object has no TidbCluster, or no more. Another one of the name
// is not the one that it started with.
func (d *decision) isGone(o *object) bool {
	if d.Cluster == nil || !d.Cluster.DeletionTimestamp.IsZero() {
		return true
	}
	return o.Status.StartedAt != nil && o.Status.ClusterUID != d.Cluster.UID
}

// find returns the pod with a name, or nil.
func (d *decision) find(name string) *Pod {
	if i := slices.IndexFunc(d.Pods, func(p Pod) bool { return p.Name == name }); i >= 0 {
		return &d.Pods[i]
	}
	return nil
}

// isProtected reports whether annotations refuse every fault.
func isProtected(annotations map[string]string) bool {
	value, ok := annotations[tidbcluster.ProtectAnnotation]
	return ok && value != "false"
}
