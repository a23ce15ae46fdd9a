package webhook

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// eventAction is the action of every Event: what was done, or skipped.
const eventAction = "Inject"

// warnings returns the warnings that the client that creates the pod is shown.
func warnings(d injection.Decision) []string {
	var sentences []string
	if d.Reason.Unwanted() {
		sentences = append(sentences, "tidelay did not inject its agent ("+string(d.Reason)+"): "+d.Detail)
	}
	for _, problem := range d.Problems {
		sentences = append(sentences, "tidelay: "+problem)
	}
	return sentences
}

// sendEvent puts an Event on the TidbCluster if its owner should know of the
// decision. It is not on the pod, which may not exist yet, and a warning would not
// be enough, because the controller that creates the pod ignores warnings. The
// recorder merges repeated Events into one.
func (i *Injector) sendEvent(namespace string, pod *corev1.Pod, member tidbcluster.Membership, d injection.Decision) {
	eventType := corev1.EventTypeWarning
	switch {
	case member.UID == "", d.Reason == injection.AlreadyInjected:
		return
	case len(d.Problems) > 0, d.Reason.Unwanted():
	case d.Reason == injection.Injected:
		eventType = corev1.EventTypeNormal
	default:
		return
	}
	sentences := append([]string{"pod " + podName(pod) + " (" + string(member.Component) + "): " + d.Detail}, d.Problems...)
	i.options.Events.Eventf(tidbcluster.Reference(member.Cluster, member.UID), podReference(namespace, pod), eventType,
		string(d.Reason), eventAction, "%s", tidbcluster.EventNote(strings.Join(sentences, "; ")))
}

// podReference refers to the pod by what is known of it: before it is made, a pod has
// no UID, and a ReplicaSet's has no name.
func podReference(namespace string, pod *corev1.Pod) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: pod.Name, UID: pod.UID}
}

// podName returns the pod's name. If the API server is yet to generate it, podName
// returns the beginning of the name and an asterisk.
func podName(pod *corev1.Pod) string {
	if pod.Name == "" && pod.GenerateName != "" {
		return pod.GenerateName + "*"
	}
	return pod.Name
}
