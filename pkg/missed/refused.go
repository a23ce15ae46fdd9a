package missed

import (
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

// addRefused notes the owner of a refused pod, whose Events say what refuses it.
func (r *Report) addRefused(pod *corev1.Pod) {
	if r.refused == nil {
		r.refused = map[string]types.UID{}
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		r.refused[pod.Name] = owner.UID
	}
}

// explainRefusals puts into each report what refuses its pods, from the Events of the
// namespace. Events live for an hour: when they are gone, what the condition of the
// TidbCluster says is kept.
func (c *Checker) explainRefusals(ctx context.Context, namespace string, clusters []*v1alpha1.TidbCluster, reports []*Report) {
	if !slices.ContainsFunc(reports, func(r *Report) bool { return len(r.refused) > 0 }) {
		return
	}
	var events corev1.EventList
	if err := c.options.Live.List(ctx, &events, client.InNamespace(namespace), client.MatchingFields{"reason": failedCreate}); err != nil {
		c.logError(ctx, fmt.Errorf("list Events: %w", err), "what refuses pods is not known", "namespace", namespace)
	}
	for i, report := range reports {
		if len(report.refused) == 0 {
			continue
		}
		report.refusal = formerRefusal(clusters[i])
		for _, pod := range slices.Sorted(maps.Keys(report.refused)) {
			if text := refusalOf(events.Items, report.refused[pod], pod); text != "" {
				report.refusal = text
				break
			}
		}
	}
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
