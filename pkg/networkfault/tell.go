package networkfault

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// The reasons of Events, beside the phases, whose names they are.
const (
	// EventStarted: a fault or a topology is in force from now on.
	EventStarted = "Started"
	// EventApplied: it is in force at all pods that are to have it.
	EventApplied = "Applied"
	// EventChanged: it is in force and does something else to packets, or ends at another
	// time.
	EventChanged = "Changed"
	// EventNotApplied: it is not in force at some pods.
	EventNotApplied = "NotApplied"
	// EventOutOfTolerance: something else was measured or counted than is asked for, and was
	// not before.
	EventOutOfTolerance = verify.ReasonOutOfTolerance
	// EventDeleted: it was in force and was deleted, and is so no more.
	EventDeleted = "Deleted"
	// EventPutRight: an agent did not hold what it was to hold, and does now.
	EventPutRight = "PutRight"
)

// news is what an Event says.
type news struct{ kind, reason, note string }

// newsOf returns what people want to hear of a change of status; nothing if it is none.
func newsOf(before, after *v1alpha1.Life) []news {
	var all []news
	if after.Phase == v1alpha1.Running {
		switch said := after.What + until(after); {
		case before.Phase != v1alpha1.Running:
			all = append(all, news{corev1.EventTypeNormal, EventStarted, said})
		case said != before.What+until(before):
			all = append(all, news{corev1.EventTypeNormal, EventChanged, said})
		}
		if wrong := outOfTolerance(after); wrong != nil && outOfTolerance(before) == nil {
			all = append(all, news{corev1.EventTypeWarning, EventOutOfTolerance, wrong.Message})
		}
	}
	if before.Phase == after.Phase && before.Reason == after.Reason {
		return all
	}
	if one := newsOfPhase(after); one != nil {
		all = append(all, *one)
	}
	return all
}

// newsOfPhase returns what people want to hear of a life that has come into another phase, or is
// in it for another reason; nil for nothing.
func newsOfPhase(life *v1alpha1.Life) *news {
	note := life.Reason + ": " + life.Message
	switch life.Phase {
	case v1alpha1.Running:
		switch life.Reason {
		case decide.ReasonApplied:
			return &news{corev1.EventTypeNormal, EventApplied, strings.TrimSuffix(life.What+", in force at "+life.Applied+" pods; "+life.Message, "; ")}
		case decide.ReasonNotApplied:
			return &news{corev1.EventTypeWarning, EventNotApplied, "in force at " + life.Applied + " pods; " + life.Message}
		}
	case v1alpha1.Paused:
		return &news{corev1.EventTypeNormal, string(life.Phase), life.Message}
	case v1alpha1.Pending:
		return &news{corev1.EventTypeNormal, string(life.Phase), note}
	case v1alpha1.Ended:
		if life.Reason == decide.ReasonExpired {
			return &news{corev1.EventTypeNormal, string(life.Phase), note}
		}
		return &news{corev1.EventTypeWarning, string(life.Phase), note}
	case v1alpha1.Refused:
		return &news{corev1.EventTypeWarning, string(life.Phase), note}
	}
	return nil
}

// outOfTolerance returns the condition that says so; nil if none does.
func outOfTolerance(life *v1alpha1.Life) *metav1.Condition {
	if c := meta.FindStatusCondition(life.Conditions, v1alpha1.Verified); c != nil && c.Status == metav1.ConditionFalse {
		return c
	}
	return nil
}

func until(life *v1alpha1.Life) string {
	if life.ExpiresAt == nil {
		return " until it is deleted"
	}
	return " until " + life.ExpiresAt.UTC().Format("2006-01-02 15:04:05 UTC")
}

// tell tells people what the new status of an object says: in the log, and by Events on the
// object and on its TidbCluster.
func (w *work) tell(before *v1alpha1.Life, object client.Object) {
	reference := referenceTo(object)
	for _, n := range newsOf(before, lifeOf(object)) {
		w.log(reference, n.reason, "note", n.note)
		w.options.Events.Eventf(reference, nil, n.kind, n.reason, n.reason, "%s", tidbcluster.EventNote(n.note))
		w.tellCluster(reference, n)
	}
}

// tellGone tells of objects that were in force and have been deleted.
func (w *work) tellGone(objects []*corev1.ObjectReference) {
	for _, reference := range objects {
		w.log(reference, EventDeleted)
		w.tellCluster(reference, news{corev1.EventTypeNormal, EventDeleted, "deleted, and in force no more"})
	}
}

// tellCluster tells by an Event on the TidbCluster what is new of an object. The kind is in
// the reason, as in FaultStarted and TopologyStarted.
func (w *work) tellCluster(object *corev1.ObjectReference, n news) {
	if w.cluster == nil {
		return
	}
	note, reason := fmt.Sprintf("%s %s: %s", object.Kind, object.Name, n.note), strings.TrimPrefix(object.Kind, "Network")+n.reason
	w.options.Events.Eventf(tidbcluster.Reference(w.key, w.cluster.UID), object, n.kind, reason, n.reason, "%s", tidbcluster.EventNote(note))
}

// log logs what is new of an object.
func (w *work) log(object *corev1.ObjectReference, reason string, more ...any) {
	w.options.Log.Info(object.Kind+" "+reason, append([]any{"namespace", object.Namespace, "name", object.Name, "tidbcluster", w.key.Name}, more...)...)
}
