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
// Events of the namespace when other pods are refused than in the check before, or
// nothing is known of it, and is kept from then on: Events are read from etcd, and are
// gone after an hour.
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
		report := reports[i]
		for _, pod := range slices.Sorted(maps.Keys(report.refused)) {
			if text := refusalOf(events.Items, report.refused[pod].owner, pod); text != "" {
				report.refusal = text
				break
			}
		}
		s := c.stateOf(clusters[i])
		s.refused, s.refusal = report.refused, report.refusal
	}
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

// refusalOf returns the text of the newest of the Events on owner, one that names the
// pod if there is one, or "".
func refusalOf(events []corev1.Event, owner types.UID, pod string) string {
	var newest *corev1.Event
	for i := range events {
		event := &events[i]
		if event.InvolvedObject.UID != owner {
			continue
		}
		if newest == nil || names(event, pod) && !names(newest, pod) || names(event, pod) == names(newest, pod) && lastSeen(event).After(lastSeen(newest)) {
			newest = event
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
