package missed

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Reasons of the condition, beside those of an admission and those of an obstacle.
const (
	// Missed: the pod would get the agent if it were created now.
	Missed injection.Reason = "missed"
	// NoPods: the TidbCluster has no pod yet that is to be injected.
	NoPods injection.Reason = "no_pods"
	// AgentNotRunning: the pod carries the agent, and kubelet can't keep the agent's
	// container running. The pod is not ready then, and its Service leaves it out, but for
	// an agent that was attached.
	AgentNotRunning injection.Reason = "agent_not_running"
	// AgentNotAnswering: something else answers on the agent's port, or nobody listens
	// there.
	AgentNotAnswering injection.Reason = "agent_not_answering"
	// AgentNotReady: the agent runs, and says that it can't set faults.
	AgentNotReady injection.Reason = "agent_not_ready"
	// CheckFailed: the pods, or what decides about them, could not be read several
	// times in a row.
	CheckFailed injection.Reason = "check_failed"
)

// Report is the state of those pods of one TidbCluster that it asks to inject.
type Report struct {
	// Injected is the number of pods with the agent, and Attached the number of those to
	// which it was attached while they ran.
	Injected, Attached int
	// Without has the pods without the agent.
	Without []Pod
	// NotRunning has the pods with an agent that does not run, and why.
	NotRunning []Pod
	// Unusable has the pods with an agent that runs, and that does not answer as it
	// should.
	Unusable []Pod
	// Silent is the number of agents that could not be asked. The network between the
	// controller and the pods may be the reason, so it says nothing about them.
	Silent int

	// running has the pods whose agents are to be asked.
	running []address
	// blocked is what keeps a pod of the TidbCluster from being injected if it is
	// created now; nil for nothing.
	blocked *obstacle
	// strict says that pods are not made at all while the injector does not answer;
	// empty if they are.
	strict string
	// undecided has a cause for each pod about which nothing can be said.
	undecided []error

	// refused has those pods that are Refused, by their names, and refusal what is known
	// of what refuses them.
	refused map[string]refusedPod
	refusal string
}

// Pod is a pod and what is told of it.
type Pod struct {
	Name string
	// Reason is Missed, what keeps the pod from being injected, or what is wrong with
	// its agent.
	Reason injection.Reason
	// Detail is kubelet's reason or what the agent says, or empty. It stays the same for
	// as long as the cause does.
	Detail string
}

// address is where the agent of a pod is asked.
type address struct {
	pod string
	uid types.UID
	ip  string
}

// String returns the pod for a message.
func (p Pod) String() string {
	if p.Detail == "" {
		return fmt.Sprintf("%s (%s)", p.Name, p.Reason)
	}
	return fmt.Sprintf("%s (%s)", p.Name, p.Detail)
}

// add adds a pod, given the reason of the decision about it if it were created now,
// and what keeps the API server from asking for that decision, or nil. A pod that is
// not asked for is left out.
func (r *Report) add(pod *corev1.Pod, reason injection.Reason, blocked *obstacle, now time.Time) {
	switch {
	case reason == injection.AlreadyInjected:
		r.Injected++
		if agent, _ := injection.AgentOf(pod); agent.Attached {
			r.Attached++
		}
		if why := notRunning(pod, now); why != "" {
			r.NotRunning = append(r.NotRunning, Pod{pod.Name, AgentNotRunning, why})
		} else if canBeAsked(pod, now) {
			r.running = append(r.running, address{pod.Name, pod.UID, pod.Status.PodIP})
		}
	case reason == injection.Injected && blocked != nil:
		r.Without = append(r.Without, Pod{Name: pod.Name, Reason: blocked.reason})
	case reason == injection.Injected:
		r.Without = append(r.Without, Pod{Name: pod.Name, Reason: Missed})
	case reason.Unwanted():
		r.Without = append(r.Without, Pod{Name: pod.Name, Reason: reason})
		return
	default:
		return
	}
	if r.blocked == nil {
		r.blocked = blocked
	}
}

// addReplies adds the replies of the agents of r.running, in their order. One that says
// that an agent can't be used is added if sure reports so of the pod.
//
// That a connection is refused counts only where another agent of the TidbCluster
// answers: a NetworkPolicy may reject the controller's connections to all of them.
func (r *Report) addReplies(replies []reply, sure func(types.UID, Pod) bool) {
	reachable := slices.ContainsFunc(replies, func(r reply) bool { return r.kind == ready || r.kind == unready })
	for i, reply := range replies {
		pod := Pod{Name: r.running[i].pod, Detail: reply.detail}
		switch {
		case reply.kind == notAgent, reply.kind == refused && reachable:
			pod.Reason = AgentNotAnswering
		case reply.kind == unready:
			pod.Reason = AgentNotReady
		case reply.kind != ready:
			r.Silent++
			continue
		default:
			continue
		}
		if sure(r.running[i].uid, pod) {
			r.Unusable = append(r.Unusable, pod)
		}
	}
}

// needsInjector returns r.strict if the API server asks the injector about pods of the
// TidbCluster, whether it gets an answer or not.
func (r *Report) needsInjector() string {
	if r.blocked != nil && !r.blocked.getsNoAnswer() {
		return ""
	}
	return r.strict
}

// reasonsWithout lists every reason that a pod of Report.Without, or an obstacle, may
// have.
func reasonsWithout() []injection.Reason {
	return slices.Concat([]injection.Reason{Missed}, injection.Reasons(), obstacleReasons())
}

// total returns the number of pods that are asked for.
func (r *Report) total() int { return r.Injected + len(r.Without) }

// Missed returns the number of pods that would get the agent if they were created
// now.
func (r *Report) Missed() int {
	count := 0
	for _, pod := range r.Without {
		if pod.Reason == Missed {
			count++
		}
	}
	return count
}

// err returns why nothing can be said about the TidbCluster: about one of its pods
// nothing can, and what is known of the others is not that something is wrong.
func (r *Report) err() error {
	if len(r.Without)+len(r.NotRunning)+len(r.Unusable) > 0 {
		return nil
	}
	return errors.Join(r.undecided...)
}

// reason returns the reason of the condition. Of several, it is the one that a person
// should see to first: an agent that keeps its pod out of the Service, a pod that was
// refused, one that was missed, one that can't be injected, an agent that can't be used,
// and what would happen to a pod made now.
func (r *Report) reason() injection.Reason {
	switch {
	case len(r.NotRunning) > 0:
		return AgentNotRunning
	case len(r.refused) > 0:
		return injection.Refused
	case r.Missed() > 0:
		return Missed
	case len(r.Without) > 0:
		return firstReason(r.Without)
	case len(r.Unusable) > 0:
		return firstReason(r.Unusable)
	case r.blocked != nil:
		return r.blocked.reason
	case r.needsInjector() != "":
		return WebhookFailurePolicy
	case r.total() == 0:
		return NoPods
	default:
		return injection.Injected
	}
}

// firstReason returns the first reason in alphabetical order, so that it is always the
// same one.
func firstReason(pods []Pod) injection.Reason {
	return slices.MinFunc(pods, func(a, b Pod) int { return strings.Compare(string(a.Reason), string(b.Reason)) }).Reason
}

// maxListed is the largest number of pods that a message names, of each kind. There may be
// much to say of each agent, so fewer of those are named.
const (
	maxListed = 10
	maxAgents = 3
)

// message returns the report as sentences, which are parted by semicolons. It is the same
// for the same state: the errors of what could not be checked, which may have a port or a
// time in them, are in the log.
func (r *Report) message() string {
	var parts []string
	if len(r.NotRunning) > 0 {
		parts = append(parts, fmt.Sprintf("the agent does not run in %d of %d pods: %s", len(r.NotRunning), r.total(), list(r.NotRunning, maxAgents)))
	}
	switch {
	case r.total() == 0:
		parts = append(parts, "no pod is asked for yet")
	case len(r.Without) == 0:
		parts = append(parts, fmt.Sprintf("%d of %d pods carry the agent", r.Injected, r.total())+r.attached())
	default:
		parts = append(parts, fmt.Sprintf("%d of %d pods go without the agent: %s", len(r.Without), r.total(), list(r.Without, maxListed)))
	}
	if len(r.Unusable) > 0 {
		parts = append(parts, fmt.Sprintf("the agent can't be used in %d of %d pods: %s", len(r.Unusable), r.total(), list(r.Unusable, maxAgents)))
	}
	if r.Missed() > 0 {
		parts = append(parts, "those missed get it when they are next created, and Tidelay restarts none")
	}
	if len(r.refused) > 0 {
		parts = append(parts, "those refused are tried with the agent again when they are next created")
	}
	switch {
	case r.blocked == nil:
	case r.needsInjector() != "":
		parts = append(parts, "a pod that is created now is not made at all: "+r.blocked.detail)
	default:
		parts = append(parts, "a pod that is created now goes without it: "+r.blocked.detail)
	}
	if why := r.needsInjector(); why != "" {
		parts = append(parts, "no pod of a TidbCluster is made while the injector does not answer: "+why)
	}
	if len(r.undecided) > 0 {
		parts = append(parts, fmt.Sprintf("%d more could not be checked, and the controller's log says why", len(r.undecided)))
	}
	if r.refusal != "" {
		parts = append(parts, refusalIntro+r.refusal)
	}
	return strings.Join(parts, "; ")
}

// attached says at how many of the pods the agent was attached.
func (r *Report) attached() string {
	if r.Attached == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of them attached while they ran", r.Attached)
}

// list returns the first pods by name, and the number of the others.
func list(pods []Pod, most int) string {
	var names []string
	for _, pod := range slices.SortedFunc(slices.Values(pods), func(a, b Pod) int { return strings.Compare(a.Name, b.Name) }) {
		names = append(names, pod.String())
	}
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// cut returns text in one line of at most a number of bytes, and marks the cut.
func cut(text string, most int) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// condition returns the report as a condition of the TidbCluster, without times.
func (r *Report) condition() v1alpha1.TidbClusterCondition {
	reason := r.reason()
	status, ok := map[injection.Reason]corev1.ConditionStatus{
		injection.Injected: corev1.ConditionTrue, NoPods: corev1.ConditionUnknown,
	}[reason]
	if !ok {
		status = corev1.ConditionFalse
	}
	return v1alpha1.TidbClusterCondition{
		Type: tidbcluster.InjectedCondition, Status: status, Reason: string(reason), Message: r.message(),
	}
}

// maxCause is the largest number of bytes of an error that a condition repeats.
const maxCause = 500

// uncheckedCondition returns the condition of a TidbCluster that can't be checked. last
// is the time of the last check that worked, zero if there was none.
func uncheckedCondition(last time.Time, cause error) v1alpha1.TidbClusterCondition {
	since := "since this replica of the controller leads"
	if !last.IsZero() {
		since = "since " + last.UTC().Format(time.RFC3339)
	}
	return v1alpha1.TidbClusterCondition{
		Type: tidbcluster.InjectedCondition, Status: corev1.ConditionUnknown, Reason: string(CheckFailed),
		Message: fmt.Sprintf("the pods could not be checked %s: %s", since, cut(cause.Error(), maxCause)),
	}
}
