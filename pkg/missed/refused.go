package missed

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/injection"
)

const (
	// failedCreate is the reason of the Event in which the controller of a
	// StatefulSet or a ReplicaSet says why it can't create a pod.
	failedCreate = "FailedCreate"
	// eventLife is how long the API server keeps Events (its flag --event-ttl).
	eventLife = time.Hour
	// eventDelay is how long after a pod was made the Event of its refusal may still
	// come. Most are there before the pod is. A client sends its first 25 Events on an
	// object at once, then one in five minutes (client-go's EventSourceObjectSpamFilter).
	eventDelay = 5 * time.Minute
	// eventLead is how long before a pod was made an Event may have been last seen and be
	// taken for that of its refusal, without waiting for another. The request that was
	// refused is mostly some milliseconds older than the pod.
	eventLead = time.Minute
	// maxRefusal is the longest text of a refusal in a message, in bytes.
	maxRefusal = 500
	// refusalIntro comes before the text of the refusal, which a message has last.
	refusalIntro = "the refusal: "
)

// refusedBefore returns the reason why a running pod goes without the agent. It is
// Refused if the pod would be injected now, and the injector made it without the agent
// because the API server did not make it with one.
func refusedBefore(pod *corev1.Pod, reason injection.Reason) injection.Reason {
	if reason == injection.Injected && pod.Annotations[injection.NotInjectedAnnotation] == string(injection.Refused) {
		return injection.Refused
	}
	return reason
}

// refusedPod is what is needed to find what refuses a pod: the Events of its owner.
type refusedPod struct {
	uid, owner types.UID
	// made is when the pod was made without the agent, as Unix time.
	made int64
}

// addRefused notes a refused pod.
func (r *Report) addRefused(pod *corev1.Pod) {
	if r.refused == nil {
		r.refused = map[string]refusedPod{}
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		r.refused[pod.Name] = refusedPod{uid: pod.UID, owner: owner.UID, made: pod.CreationTimestamp.Unix()}
	}
}

// explainRefusals puts into each report what refuses its pods. That is looked for in the
// Events of the namespace when other pods are refused than those that are explained, or
// nothing is known of it, and is kept from then on: Events are read from etcd, and are
// gone after an hour. If pods are new, the newest of their Events counts.
func (c *Checker) explainRefusals(ctx context.Context, namespace string, clusters []*v1alpha1.TidbCluster, reports []*Report) {
	var unexplained []int
	for i, report := range reports {
		s := c.stateOf(clusters[i])
		if len(report.refused) == 0 {
			s.refused, s.refusal = nil, ""
			continue
		}
		report.refusal = cmp.Or(s.refusal, formerRefusal(clusters[i]))
		if !maps.Equal(report.refused, s.refused) || report.refusal == "" && mayHaveEvents(report.refused, time.Now()) {
			unexplained = append(unexplained, i)
		}
	}
	if len(unexplained) == 0 {
		return
	}
	var events corev1.EventList
	if err := c.options.Live.List(ctx, &events, client.InNamespace(namespace), client.MatchingFields{"reason": failedCreate}); err != nil {
		c.logError(ctx, fmt.Errorf("list Events: %w", err), "what refuses pods is not known", "namespace", namespace)
		return
	}
	for _, i := range unexplained {
		report, s := reports[i], c.stateOf(clusters[i])
		pods := maps.Clone(report.refused)
		maps.DeleteFunc(pods, func(name string, pod refusedPod) bool { return s.refused[name] == pod })
		if len(pods) == 0 {
			pods = report.refused
		}
		report.refusal = cmp.Or(refusalOf(events.Items, pods), report.refusal)
		s.refusal = report.refusal
		if explained(events.Items, pods, time.Now()) {
			s.refused = report.refused
		}
	}
}

// explained reports whether each of the pods has an Event of its refusal, or no longer can
// be expected to get one. An Event from before the pod was made may be of another
// refusal, of a pod of the same name.
func explained(events []corev1.Event, pods map[string]refusedPod, now time.Time) bool {
	for name, pod := range pods {
		made := time.Unix(pod.made, 0)
		if now.Sub(made) < eventDelay && !slices.ContainsFunc(events, func(e corev1.Event) bool {
			return e.InvolvedObject.UID == pod.owner && names(&e, name) && lastSeen(&e).After(made.Add(-eventLead))
		}) {
			return false
		}
	}
	return true
}

// mayHaveEvents reports whether one of the pods was made so lately that there are Events
// of its refusal.
func mayHaveEvents(pods map[string]refusedPod, now time.Time) bool {
	for _, pod := range pods {
		if now.Sub(time.Unix(pod.made, 0)) < eventLife {
			return true
		}
	}
	return false
}

// refusalOf returns the text of the newest of the Events on the owners of pods, one that
// names one of the pods if there is one, or "".
func refusalOf(events []corev1.Event, pods map[string]refusedPod) string {
	var newest *corev1.Event
	var newestNames bool
	for i := range events {
		event := &events[i]
		var owns, named bool
		for name, pod := range pods {
			if pod.owner == event.InvolvedObject.UID {
				owns, named = true, named || names(event, name)
			}
		}
		if !owns {
			continue
		}
		if newest == nil || named && !newestNames || named == newestNames && lastSeen(event).After(lastSeen(newest)) {
			newest, newestNames = event, named
		}
	}
	if newest == nil {
		return ""
	}
	return cut(newest.Message, maxRefusal)
}

// names reports whether the text of an Event names the pod.
func names(event *corev1.Event, pod string) bool {
	return slices.Contains(strings.FieldsFunc(event.Message, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-.", r)
	}), pod)
}

// lastSeen returns when an Event last happened.
func lastSeen(event *corev1.Event) time.Time {
	latest := event.CreationTimestamp.Time
	times := []time.Time{event.LastTimestamp.Time, event.EventTime.Time}
	if event.Series != nil {
		times = append(times, event.Series.LastObservedTime.Time)
	}
	for _, t := range times {
		if t.After(latest) {
			latest = t
		}
	}
	return latest
}

// formerRefusal returns the text of the refusal in the condition of a TidbCluster, or
// "" if it has none.
func formerRefusal(cluster *v1alpha1.TidbCluster) string {
	if c := ownCondition(cluster); c != nil {
		_, text, _ := strings.Cut(c.Message, "; "+refusalIntro)
		return text
	}
	return ""
}
