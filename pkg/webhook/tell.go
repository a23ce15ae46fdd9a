package webhook

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// eventAction is what every Event says the injector was about to do.
const eventAction = "Inject"

// warnings is what the client that creates the pod gets to read.
func warnings(d Decision) []string {
	var sentences []string
	if d.Reason.Unwanted() {
		sentences = append(sentences, "tidelay did not inject its agent ("+string(d.Reason)+"): "+d.Detail)
	}
	for _, problem := range d.Problems {
		sentences = append(sentences, "tidelay: "+problem)
	}
	return sentences
}

// tell puts an Event on the TidbCluster if its owner should hear of the
// decision. The pod does not exist yet, and whoever creates it is a controller
// that reads no warnings. The recorder folds repetitions into one Event.
func (i *Injector) tell(namespace string, pod *corev1.Pod, member tidbcluster.Membership, d Decision) {
	eventType := corev1.EventTypeWarning
	switch {
	case member.UID == "", d.Reason == AlreadyInjected:
		return
	case len(d.Problems) > 0, d.Reason.Unwanted():
	case d.Reason == Injected:
		eventType = corev1.EventTypeNormal
	default:
		return
	}
	sentences := append([]string{"pod " + podName(pod) + " (" + string(member.Component) + "): " + d.Detail}, d.Problems...)
	i.options.Events.Eventf(tidbcluster.Reference(member.Cluster, member.UID), podReference(namespace, pod), eventType,
		string(d.Reason), eventAction, "%s", EventNote(strings.Join(sentences, "; ")))
}

// podReference names the pod as far as it is known: a ReplicaSet's pod gets its
// name, and any pod its UID, only after admission.
func podReference(namespace string, pod *corev1.Pod) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: pod.Name}
}

// podName is the pod's name, or how it will begin if it is yet to be generated.
func podName(pod *corev1.Pod) string {
	if pod.Name == "" && pod.GenerateName != "" {
		return pod.GenerateName + "*"
	}
	return pod.Name
}

// EventNote keeps a note within what the API server takes for an Event, 1024 bytes.
func EventNote(note string) string {
	const longest = 1024
	if len(note) <= longest {
		return note
	}
	return strings.ToValidUTF8(note[:longest-3], "") + "..."
}
