package explain

import (
	"context"
	"fmt"
	"slices"
	"strings"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/networkfault/facts"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// note says what else matters of a pod, a member of a TidbCluster or of none.
func (e *Explanation) note(ctx context.Context, reader client.Reader, pod *corev1.Pod, member tidbcluster.Membership) error {
	add := func(format string, args ...any) { e.Notes = append(e.Notes, fmt.Sprintf(format, args...)) }
	if facts.HasEnded(pod) {
		add("the pod has ended: %s", ended(pod))
	}
	if !pod.DeletionTimestamp.IsZero() {
		add("the pod is being deleted")
	}
	if pod.Spec.HostNetwork && injection.HasAgent(pod) {
		add("the pod has an agent and shares the node's network: the agent does nothing there")
	}
	if e.Decision.Reason == injection.Injected && !injection.HasAgent(pod) {
		e.noteMissed(pod, add)
	}
	if member.UID == "" {
		return nil
	}
	return e.noteCheck(ctx, reader, pod, member, add)
}

// noteMissed says why a pod is without the agent that it would get now.
func (e *Explanation) noteMissed(pod *corev1.Pod, add func(string, ...any)) {
	switch {
	case pod.Annotations[injection.NotInjectedAnnotation] == string(injection.Refused):
		add("it has none (%s), since the API server did not make it with one: a policy, a quota or a limit refuses that. The Events FailedCreate of its controller say which", injection.Refused)
	case !labels.SelectorFromSet(tidbcluster.OperatorLabels()).Matches(labels.Set(pod.Labels)):
		add("but the API server does not ask the injector about this pod: it asks only about pods with the label %s", labels.FormatLabels(tidbcluster.OperatorLabels()))
	default:
		add("it has none, since it was created before the injector would have added it, or while the injector was not there. It gets the agent when it is created anew")
	}
}

// missed is what the controller's check for missed pods says behind the name of one.
const missed = " (missed)"

// noteCheck says what that check found. It comes now and then, so that it may know an agent not
// yet that was attached.
func (e *Explanation) noteCheck(ctx context.Context, reader client.Reader, pod *corev1.Pod, member tidbcluster.Membership, add func(string, ...any)) error {
	var cluster tcv1alpha1.TidbCluster
	err := reader.Get(ctx, member.Cluster, &cluster)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("read TidbCluster %s: %w", member.Cluster, err)
	}
	for _, c := range cluster.Status.Conditions {
		switch isTold := c.Type == tidbcluster.InjectedCondition && c.Status != corev1.ConditionTrue && c.Message != ""; {
		case !isTold:
		case injection.HasAgent(pod) && strings.Contains(c.Message, pod.Name+missed):
			add("the check of TidbCluster %s has not yet seen that the pod has an agent", cluster.Name)
		default:
			add("the check of TidbCluster %s says: %s", cluster.Name, c.Message)
		}
	}
	return nil
}

// ended says how a pod ended.
func ended(pod *corev1.Pod) string {
	words := []string{string(pod.Status.Phase), pod.Status.Reason, pod.Status.Message}
	return strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), ", ")
}
