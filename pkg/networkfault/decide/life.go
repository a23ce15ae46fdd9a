package decide

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// inForce returns the objects that are to be in force as far as they alone say. Those
// that run come before those that run and were changed, then come those that have run, and
// then others.
func (d *decision) inForce() []*object {
	all := make([]*object, 0, len(d.Faults)+len(d.Topologies))
	for _, f := range d.Faults {
		all = append(all, newFault(f))
	}
	for _, t := range d.Topologies {
		all = append(all, newTopology(t))
	}
	slices.SortFunc(all, func(a, b *object) int {
		return cmp.Or(a.rank()-b.rank(), a.since().Compare(b.since()), compareAges(a, b))
	})
	return slices.DeleteFunc(all, func(o *object) bool { return !o.meta.DeletionTimestamp.IsZero() || !d.lives(o) })
}

// compareAges orders objects, the oldest first. Of those that were created in one second a
// topology is first: it is the ground.
func compareAges(a, b *object) int {
	return cmp.Or(a.meta.CreationTimestamp.Compare(b.meta.CreationTimestamp.Time), a.order()-b.order(), cmp.Compare(a.key, b.key))
}

// lives reports whether an object is to be in force as far as it alone and its cluster
// say, and settles it if not.
func (d *decision) lives(o *object) bool {
	if o.isSettled() {
		o.keep(o.meta.Name, o.was, &d.result)
		return false
	}
	if wrong := o.parse(); wrong != nil {
		o.life.What = ""
		d.setCondition(o, v1alpha1.Resolved, false, wrong.reason, wrong.message)
		d.refuse(o, wrong.reason, wrong.message)
		return false
	}
	o.life.What = o.what()
	if o.expire(); o.life.ExpiresAt != nil && !d.Now.Before(o.life.ExpiresAt.Time) {
		d.stop(o, v1alpha1.Ended, ReasonExpired, "its time is over")
		return false
	}
	switch {
	case d.isGone(o) && o.was.StartedAt != nil:
		d.stop(o, v1alpha1.Ended, ReasonClusterNotFound, "TidbCluster "+o.cluster+" is gone")
	case d.isGone(o):
		d.stop(o, v1alpha1.Pending, ReasonClusterNotFound, "there is no TidbCluster "+o.cluster+" in this namespace")
	case tidbcluster.IsProtected(d.Cluster.Annotations):
		d.refuse(o, ReasonProtected, fmt.Sprintf("TidbCluster %s takes no %s, by its annotation %s", o.cluster, o.noun(), tidbcluster.ProtectAnnotation))
	case !tidbcluster.ParseOptIn(d.Cluster.Annotations).Inject:
		d.refuse(o, ReasonNotInjected, d.howToInject())
	case o.paused:
		d.stop(o, v1alpha1.Paused, ReasonPaused, "spec.paused is true")
	default:
		return true
	}
	return false
}

// isGone reports whether an object has no TidbCluster, or no more. Another one of the name
// is not the one that it started with.
func (d *decision) isGone(o *object) bool {
	if d.Cluster == nil || !d.Cluster.DeletionTimestamp.IsZero() {
		return true
	}
	return o.was.StartedAt != nil && o.was.ClusterUID != d.Cluster.UID
}

// howToInject says what a TidbCluster needs that does not ask for agents.
func (d *decision) howToInject() string {
	text := fmt.Sprintf(`TidbCluster %s does not ask for agents: set its annotation %s: "true"`, d.Cluster.Name, tidbcluster.InjectAnnotation)
	if slices.ContainsFunc(d.Pods, func(p Pod) bool { return !p.Agent }) {
		text += fmt.Sprintf("; some of its pods have none: kubectl tidelay attach %s adds them and restarts nothing, or restart these pods", d.Cluster.Name)
	}
	return text
}

// oneTopology has all topologies wait but one: that which runs, else the oldest that has the
// zones that it needs. It holds also while it waits for the TidbCluster's health, and when it
// was changed. Those that lack zones wait for these; those that their zones forbid are refused
// later, but not while one runs, since these zones may be others when that one ends.
func (d *decision) oneTopology(objects []*object) []*object {
	var able []*object
	waits, forbidden := map[*object]bool{}, map[*object]bool{}
	for _, o := range objects {
		if !o.isTopology() {
			continue
		}
		switch lacks, err := o.lacks(d); {
		case o.isRunning() || !lacks:
			able = append(able, o)
		case err != nil:
			forbidden[o] = true
		default:
			waits[o] = true
		}
	}
	if len(able) == 0 {
		return objects
	}
	holds := slices.MinFunc(able, func(a, b *object) int {
		switch {
		case a.isRunning() == b.isRunning():
			return compareAges(a, b)
		case a.isRunning():
			return -1
		default:
			return 1
		}
	})
	return slices.DeleteFunc(objects, func(o *object) bool {
		if o == holds || !o.isTopology() || waits[o] || forbidden[o] && !holds.isRunning() {
			return false
		}
		d.stop(o, v1alpha1.Pending, ReasonAnotherTopology, fmt.Sprintf(
			"one topology of a TidbCluster is in force at a time, and %s is or will be; this one follows when that one has ended, is paused or is deleted", compile.Describe(holds.key)))
		return true
	})
}

// mayStart has objects wait that must not start yet.
func (d *decision) mayStart(objects []*object) []*object {
	return slices.DeleteFunc(objects, func(o *object) bool {
		if o.was.StartedAt != nil {
			return false
		}
		if d.Hold[o.key] {
			d.stop(o, v1alpha1.Pending, ReasonStarting, "its start could not be written yet")
			return true
		}
		if missing := o.unready(d); missing != "" {
			d.stop(o, v1alpha1.Pending, ReasonNotReady, missing)
			return true
		}
		return false
	})
}

// settle notes what the status of an object is to be.
func (d *decision) settle(o *object) {
	o.life.ObservedGeneration = o.meta.Generation
	for i := range o.life.Conditions {
		o.life.Conditions[i].ObservedGeneration = o.meta.Generation
	}
	if o.life.ExpiresAt != nil && o.life.Phase != v1alpha1.Ended && o.life.Phase != v1alpha1.Refused {
		d.comeBack(o.life.ExpiresAt.Time)
	}
	o.keep(o.meta.Name, o.life, &d.result)
}

// stop settles an object that is not in force.
func (d *decision) stop(o *object, phase v1alpha1.Phase, reason, message string) {
	message = tidbcluster.EventNote(message) // short enough for an Event is short enough here
	o.life.Phase, o.life.Reason, o.life.Message, o.life.Applied = phase, reason, message, ""
	switch {
	case phase == v1alpha1.Refused:
		o.life.ExpiresAt = nil
	case phase == v1alpha1.Ended && o.life.ExpiresAt != nil && d.Now.Before(o.life.ExpiresAt.Time):
		o.life.ExpiresAt = &metav1.Time{Time: wholeSecond(d.Now)} // it has ended before
	}
	o.endLook()
	d.setCondition(o, v1alpha1.Applied, false, string(phase), message)
	d.settle(o)
}

// refuse settles an object that must not be in force. One that was in force, and that
// nobody has changed, has ended.
func (d *decision) refuse(o *object, reason, message string) {
	phase, end := v1alpha1.Refused, TriedAgain
	if o.runs() {
		phase, end = v1alpha1.Ended, fmt.Sprintf("A %s that has ended can't be changed: delete it and create it again.", o.noun())
	} else if o.outdate() && meta.IsStatusConditionTrue(o.life.Conditions, v1alpha1.Resolved) {
		meta.RemoveStatusCondition(&o.life.Conditions, v1alpha1.Resolved)
	}
	d.stop(o, phase, reason, withEnd(message, end))
}

// TriedAgain is what the message of an object ends with that is refused.
const TriedAgain = "It is tried again when it is changed or created again."

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
