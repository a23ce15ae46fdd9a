package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// wasApplied reports whether the object, as it is now, was in force everywhere, at the
// moment or before.
func (o *object) wasApplied() bool {
	c := meta.FindStatusCondition(o.was.Conditions, v1alpha1.Applied)
	return o.runs() && c != nil && (c.Status == metav1.ConditionTrue || c.Reason == ReasonNoLongerApplied)
}

// apply settles the objects that are in force.
func (d *decision) apply(objects []*object) {
	plan := d.compile(objects)
	ends := map[string]time.Time{}
	for _, o := range objects {
		if o.life.StartedAt == nil {
			o.life.StartedAt, o.life.ClusterUID = &metav1.Time{Time: wholeSecond(d.Now)}, d.Cluster.UID
		}
		o.expire()
		o.life.Phase = v1alpha1.Running
		if topology := o.compiled().Topology; topology != nil {
			d.result.Zones = topology.Zones
		}
		d.tell(o, plan)
		d.settle(o)
		if o.life.ExpiresAt != nil {
			ends[o.key] = o.life.ExpiresAt.Time
		}
	}
	d.result.Faults = map[string][]Fault{}
	for pod, faults := range plan.Faults {
		all := make([]Fault, 0, len(faults))
		for _, f := range faults {
			one := Fault{Fault: f}
			for _, name := range f.Objects {
				if end, ok := ends[name]; ok && (one.End.IsZero() || end.Before(one.End)) {
					one.End = end
				}
			}
			all = append(all, one)
		}
		d.result.Faults[pod] = all
	}
}

// comeBack has the next decision come at a time at the latest.
func (d *decision) comeBack(at time.Time) {
	if d.result.Next.IsZero() || at.Before(d.result.Next) {
		d.result.Next = at
	}
}

// places are the pods whose agents are to have an object.
type places struct {
	total, held int
	// isPending is whether some were asked a moment ago.
	isPending bool
	// missing says of others why they do not have it.
	missing  []string
	warnings warnings
}

// look finds out where an object is in force.
func (d *decision) look(o *object, plan compile.Plan) places {
	var p places
	for _, name := range d.holders(o, plan) {
		p.total++
		switch isHeld, why := d.isHeld(name, ofObject(o.key, plan.Faults[name])); {
		case isHeld:
			p.held++
			p.warnings.add(o.key, name, d.find(name).State.Warnings)
		case why != "":
			p.missing = append(p.missing, why)
		default:
			p.isPending = true
		}
	}
	return p
}

// tell says in the status of an object that is in force where it is so.
func (d *decision) tell(o *object, plan compile.Plan) {
	at := d.look(o, plan)
	o.life.Reason, o.life.Message = ReasonApplied, ""
	switch {
	case at.isPending && o.runs():
		// Asked a moment ago. What was true before is told until there is an answer.
		o.life.Reason, o.life.Message = o.was.Reason, o.was.Message
		return
	case at.isPending:
		o.life.Reason = ReasonApplying
		at.held = 0
	case len(at.missing) > 0:
		o.life.Reason, o.life.Message = ReasonNotApplied, strings.Join(at.missing[:min(len(at.missing), 4)], "; ")
		if more := len(at.missing) - 4; more > 0 {
			o.life.Message += fmt.Sprintf("; and %d more", more)
		}
	case at.total == 0:
		o.life.Reason, o.life.Message = ReasonNotApplied, "no pod can have it now"
	}
	if len(o.bare) > 0 {
		o.notes = slices.Insert(o.notes, 0, "left out: "+list(o.bare))
	}
	for _, note := range o.notes {
		o.life.Message = strings.TrimPrefix(o.life.Message+"; "+note, "; ")
	}
	if o.life.Reason != ReasonApplying {
		o.life.Message = strings.TrimPrefix(o.life.Message+at.warnings.text(), "; ")
	}
	o.life.Message = tidbcluster.EventNote(o.life.Message)
	o.life.Applied = fmt.Sprintf("%d/%d", at.held, at.total)
	reason := o.life.Reason
	if reason == ReasonNotApplied && o.wasApplied() {
		reason = ReasonNoLongerApplied
	}
	message := o.life.Message
	if reason == ReasonApplied {
		message = strings.TrimSuffix(fmt.Sprintf("in force at all %s; %s", tidbcluster.Plural(at.total, "pod"), message), "; ")
	}
	d.setCondition(o, v1alpha1.Applied, reason == ReasonApplied, reason, message)
}

// isHeld reports whether a pod is known to hold faults, and if not, says why; "" if it has
// been asked a moment ago.
func (d *decision) isHeld(pod string, faults []compile.Fault) (is bool, why string) {
	switch p := d.find(pod); {
	case p == nil:
		return false, pod + " is not there"
	case p.AgentEnded:
		return false, pod + ": its attached agent has ended"
	case len(p.Addrs) == 0:
		return false, pod + " has no address of its own yet"
	case p.State.Down:
		return false, pod + ": its agent does not run; what it holds is not known"
	case p.State.Silent:
		return false, pod + " does not answer: " + p.State.Failed + "; what it holds is not known"
	case isPart(faults, p.State.Holds):
		return true, ""
	case p.State.Failed != "":
		return false, pod + ": " + p.State.Failed
	default:
		return false, ""
	}
}

// holders returns the pods whose agents are to have an object, by name: those of the
// plan, and those that would be in it if they had an address, or another agent in place of one
// that has ended.
func (d *decision) holders(o *object, plan compile.Plan) []string {
	var all []string
	for pod, faults := range plan.Faults {
		if len(ofObject(o.key, faults)) > 0 {
			all = append(all, pod)
		}
	}
	for _, name := range o.senders() {
		if p := d.find(name); p == nil || !p.HostNetwork && (p.Agent && len(p.Addrs) == 0 || d.isAwaited(o, p)) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// ofObject returns those faults of a pod that an object takes part in.
func ofObject(name string, faults []compile.Fault) []compile.Fault {
	var own []compile.Fault
	for _, f := range faults {
		if slices.Contains(f.Objects, name) {
			own = append(own, f)
		}
	}
	return own
}
