package decide

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
)

// object is a fault or a topology that may be in force.
type object struct {
	asked
	// key is its name among all objects of the TidbCluster.
	key  string
	meta *metav1.ObjectMeta
	terms
	// was is what its status is, and life what it is to be.
	was, life v1alpha1.Life
	// length is how long it lasts; 0 for until it is deleted.
	length time.Duration
	bare   []string // pods that are to have it and can't
	notes  []string // what its message is to say beside what is missing
}

// terms are what the specs of faults and of topologies have in common.
type terms struct {
	cluster      string
	duration     v1alpha1.Duration
	untilDeleted bool
	paused       bool
	allow        []v1alpha1.Allowance
}

// asked is what an object asks for: all that a fault and a topology differ in.
type asked interface {
	// parse reads the spec. What the custom resource definition lets through is refused
	// here. It returns nil if nothing is wrong.
	parse() *refusal
	// what says in short what happens to packets; "" if that is not known now.
	what() string
	// unready says what an object that is to start has to wait for; "" for nothing.
	unready(d *decision) string
	// waits reports whether it waits as long as a rule of safety refuses its start for the
	// moment only, instead of being refused.
	waits() bool
	// lacks reports whether it can't start with the zones that its pods are in now. The error says
	// that these forbid it; without one it has to wait for others.
	lacks(d *decision) (bool, error)
	// resolve finds the pods. It reports false, and settles the object, if that must wait, or
	// can't be done.
	resolve(d *decision, o *object, cluster selector.Cluster) bool
	// pods returns the names of the pods that are to have it, each once, sorted.
	pods() []string
	// senders returns those of them whose own agents are to have it, whatever others do.
	senders() []string
	// compiled returns it as the compilation takes it, but for its name and age.
	compiled() compile.Object
	// unheard says why no packet can go between those that it is for; nil if some can.
	unheard(d *decision) *refusal
	// nothing says why it would be in force at no pod although every pod could have it.
	nothing() string
	// narrows reports whether it is for packets of some ports only.
	narrows() bool
	// forget drops which pods it is for, of an object that did not start after all.
	forget()
	// outdate drops which pods an older spec was for, of an object that is refused, and reports
	// whether it did.
	outdate() bool
	// keep notes what the status of an object of a name is to be.
	keep(name string, life v1alpha1.Life, result *Decision)
}

// refusal is why an object is refused.
type refusal struct{ reason, message string }

// newFault returns the object of a NetworkFault.
func newFault(f *v1alpha1.NetworkFault) *object {
	spec := &f.Spec
	return &object{
		asked: &faultAsked{spec: spec, isStarted: f.Status.StartedAt != nil, before: f.Status.Selected, selected: f.Status.Selected},
		key:   f.Name, meta: &f.ObjectMeta, was: f.Status.Life, life: *f.Status.Life.DeepCopy(),
		terms: terms{spec.Cluster, spec.Duration, spec.UntilDeleted, spec.Paused, spec.Allow},
	}
}

// newTopology returns the object of a NetworkTopology.
func newTopology(t *v1alpha1.NetworkTopology) *object {
	spec, status := &t.Spec, &t.Status
	o := &object{
		key: compile.TopologyKey(t.Name), meta: &t.ObjectMeta, was: status.Life, life: *status.Life.DeepCopy(),
		terms: terms{spec.Cluster, spec.Duration, spec.UntilDeleted, spec.Paused, spec.Allow},
	}
	asks := &topologyAsked{spec: spec, status: *status, hasStarted: o.was.StartedAt != nil, runs: o.runs()}
	if asks.hasStarted {
		asks.before = status.Zones
	}
	o.asked = asks
	return o
}

// parse reads the spec; nil if nothing is wrong with it.
func (o *object) parse() *refusal {
	if wrong := o.asked.parse(); wrong != nil {
		return wrong
	}
	o.length = 0
	if !o.untilDeleted {
		var err error
		if o.length, err = fault.ParseDuration(string(o.duration)); err != nil {
			return &refusal{ReasonInvalid, fmt.Sprintf("spec.duration %q: %v", o.duration, err)}
		}
	}
	return nil
}

// noun is what the object is called in a sentence.
func (o *object) noun() string { return compile.Noun(o.key) }

// isTopology reports whether it is a topology, and not a fault.
func (o *object) isTopology() bool {
	_, is := compile.CutTopologyKey(o.key)
	return is
}

// order is less for a topology than for a fault.
func (o *object) order() int {
	if o.isTopology() {
		return 0
	}
	return 1
}

// runs reports whether the object has been in force as it is now.
func (o *object) runs() bool {
	return o.was.Phase == v1alpha1.Running && o.was.ObservedGeneration == o.meta.Generation
}

// isRunning reports whether the object is in force, as it is now or as it was before it was
// changed.
func (o *object) isRunning() bool { return o.was.Phase == v1alpha1.Running }

// isSettled reports whether nothing can bring the object into force any more, but for a
// change of one that was refused.
func (o *object) isSettled() bool {
	isRefused := o.was.Phase == v1alpha1.Refused && o.was.ObservedGeneration == o.meta.Generation
	return isRefused || o.was.Phase == v1alpha1.Ended
}

// rank is lower for an object that goes on if it can't be combined with others. One that was
// changed must not end those that run as they were.
func (o *object) rank() int {
	switch {
	case o.runs():
		return 0
	case o.isRunning():
		return 1
	default:
		return 2
	}
}

// since returns from when on an object has been in force as it is now, which is far away for
// one that has not started. A change that was accepted behind others stays behind them, so
// this is when it was judged safe, and not when it started.
func (o *object) since() time.Time {
	if o.was.StartedAt == nil {
		return time.Unix(1<<40, 0)
	}
	if safe := meta.FindStatusCondition(o.was.Conditions, v1alpha1.Safe); safe != nil && safe.Status == metav1.ConditionTrue {
		return safe.LastTransitionTime.Time
	}
	return o.was.StartedAt.Time
}

// expire sets when the object ends, if it has started.
func (o *object) expire() {
	o.life.ExpiresAt = nil
	if o.life.StartedAt != nil && o.length > 0 {
		o.life.ExpiresAt = &metav1.Time{Time: wholeSecond(o.life.StartedAt.Add(o.length))}
	}
}

// wholeSecond rounds up. Times of objects are kept in whole seconds, so that what is read
// back is what was written, and no fault is shorter than asked for. All times of a status
// are rounded up, so that what happens at once has one time.
func wholeSecond(t time.Time) time.Time { return t.Add(time.Second - 1).Truncate(time.Second) }
