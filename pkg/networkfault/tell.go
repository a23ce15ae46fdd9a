package networkfault

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// The reasons of Events, beside the phases, whose names they are.
const (
	// EventStarted: a fault is in force from now on.
	EventStarted = "Started"
	// EventApplied: a fault is in force at all pods that are to have it.
	EventApplied = "Applied"
	// EventChanged: a fault that is in force does something else to packets, or ends at another
	// time.
	EventChanged = "Changed"
	// EventNotApplied: a fault is not in force at some pods.
	EventNotApplied = "NotApplied"
	// EventDeleted: a fault that was in force was deleted, and is so no more.
	EventDeleted = "Deleted"
	// EventPutRight: an agent did not hold what it was to hold, and does now.
	EventPutRight = "PutRight"
)

// news is what an Event says.
type news struct{ kind, reason, note string }

// newsOf returns what people want to hear of a change of status; nothing if it is none.
func newsOf(before, after *v1alpha1.NetworkFaultStatus) []news {
	var all []news
	if after.Phase == v1alpha1.Running {
		switch said := after.What + until(after); {
		case before.Phase != v1alpha1.Running:
			all = append(all, news{corev1.EventTypeNormal, EventStarted, said})
		case said != before.What+until(before):
			all = append(all, news{corev1.EventTypeNormal, EventChanged, said})
		}
	}
	if before.Phase == after.Phase && before.Reason == after.Reason {
		return all
	}
	switch note := after.Reason + ": " + after.Message; after.Phase {
	case v1alpha1.Running:
		switch after.Reason {
		case decide.ReasonApplied:
			all = append(all, news{corev1.EventTypeNormal, EventApplied, strings.TrimSuffix(after.What+", in force at "+after.Applied+" pods; "+after.Message, "; ")})
		case decide.ReasonNotApplied:
			all = append(all, news{corev1.EventTypeWarning, EventNotApplied, "in force at " + after.Applied + " pods; " + after.Message})
		}
	case v1alpha1.Paused:
		all = append(all, news{corev1.EventTypeNormal, string(after.Phase), after.Message})
	case v1alpha1.Pending:
		all = append(all, news{corev1.EventTypeNormal, string(after.Phase), note})
	case v1alpha1.Ended:
		kind := corev1.EventTypeWarning
		if after.Reason == decide.ReasonExpired {
			kind = corev1.EventTypeNormal
		}
		all = append(all, news{kind, string(after.Phase), note})
	case v1alpha1.Refused:
		all = append(all, news{corev1.EventTypeWarning, string(after.Phase), note})
	}
	return all
}

func until(status *v1alpha1.NetworkFaultStatus) string {
	if status.ExpiresAt == nil {
		return " until it is deleted"
	}
	return " until " + status.ExpiresAt.UTC().Format("2006-01-02 15:04:05 UTC")
}

// referenceTo refers to a NetworkFault as it is now in the way that an Event does. Events
// that refer to the same objects, for the same reason, are made one, with the words of the
// first: so an Event about one fault, in one state, must refer to it.
func referenceTo(fault *v1alpha1.NetworkFault) *corev1.ObjectReference {
	apiVersion, kind := emptyNetworkFault().GroupVersionKind().ToAPIVersionAndKind()
	return &corev1.ObjectReference{
		APIVersion: apiVersion, Kind: kind, Namespace: fault.Namespace, Name: fault.Name, UID: fault.UID, ResourceVersion: fault.ResourceVersion,
	}
}

// tell tells people what a fault's new status says: in the log, and by Events on the fault
// and on its TidbCluster.
func (w *work) tell(before *v1alpha1.NetworkFaultStatus, fault *v1alpha1.NetworkFault) {
	reference := referenceTo(fault)
	for _, n := range newsOf(before, &fault.Status) {
		w.options.Log.Info("NetworkFault "+n.reason, "namespace", fault.Namespace, "name", fault.Name, "tidbcluster", fault.Spec.Cluster, "note", n.note)
		w.options.Events.Eventf(reference, nil, n.kind, n.reason, n.reason, "%s", tidbcluster.EventNote(n.note))
		if w.cluster != nil {
			note := fmt.Sprintf("NetworkFault %s: %s", fault.Name, n.note)
			w.options.Events.Eventf(tidbcluster.Reference(w.key, w.cluster.UID), reference, n.kind, "Fault"+n.reason, n.reason, "%s", tidbcluster.EventNote(note))
		}
	}
}

// tellGone tells of faults that were in force and have been deleted.
func (w *work) tellGone(faults []*corev1.ObjectReference) {
	for _, fault := range faults {
		w.options.Log.Info("NetworkFault "+EventDeleted, "namespace", w.key.Namespace, "name", fault.Name, "tidbcluster", w.key.Name)
		if w.cluster != nil {
			w.options.Events.Eventf(tidbcluster.Reference(w.key, w.cluster.UID), fault, corev1.EventTypeNormal, "Fault"+EventDeleted, EventDeleted,
				"NetworkFault %s: deleted, and in force no more", fault.Name)
		}
	}
}
