package webhook

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

const (
	// followUpReads bounds how many pods all follow-ups read in a second, with
	// bursts of twice as many.
	followUpReads = 50
	// maxFollowUps bounds how many are under way, and how many wait. Beyond them
	// admissions are not followed.
	maxFollowUps = 1000
	// followUpTimeout bounds one read of a follow-up.
	followUpTimeout = 5 * time.Second
)

// followUpDelays returns the times between an answer and each look at what became of
// the pod: after 1, 3, 7 and 15 seconds.
func followUpDelays() []time.Duration {
	return []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}
}

// followUp is an admission that was answered with the agent, or without because it is
// refused. What becomes of the pod is known only later: others may refuse it.
type followUp struct {
	pod       identity
	admission types.UID
	member    tidbcluster.Membership
	decision  injection.Decision
}

// outcome is what a follow-up found. It is a label of a metric.
type outcome string

const (
	// outcomeInjected: the pod is there, with the agent.
	outcomeInjected outcome = "injected"
	// outcomeWithout: a pod is there, without the agent.
	outcomeWithout outcome = "without_agent"
	// outcomeUnmade: there was no pod all the time.
	outcomeUnmade outcome = "not_made"
	// outcomeUnknown: the API server did not tell.
	outcomeUnknown outcome = "unknown"
	// outcomeDropped: there was too much to follow.
	outcomeDropped outcome = "dropped"
)

// outcomes lists every outcome once.
func outcomes() []outcome {
	return []outcome{outcomeInjected, outcomeWithout, outcomeUnmade, outcomeUnknown, outcomeDropped}
}

// NeedLeaderElection is false: each replica follows its own answers.
func (i *Injector) NeedLeaderElection() bool { return false }

// Start follows the answered admissions until ctx ends. It looks whether the pods were
// made, and sends the Events about those that were.
func (i *Injector) Start(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(maxFollowUps)
	for {
		select {
		case <-ctx.Done():
			return group.Wait()
		case f := <-i.followUps:
			group.Go(func() error {
				if found := i.follow(ctx, f); ctx.Err() == nil {
					i.metrics.followUps.WithLabelValues(string(found)).Inc()
				}
				return nil
			})
		}
	}
}

// followLater has an admission followed, unless there are too many already. An
// admission never waits for it.
func (i *Injector) followLater(f followUp) {
	f.decision.Patch = nil // it is large, and not needed
	select {
	case i.followUps <- f:
	default:
		i.metrics.followUps.WithLabelValues(string(outcomeDropped)).Inc()
	}
}

// follow looks for the pod of an answered admission until it is there, or the last of
// followUpDelays is over.
func (i *Injector) follow(ctx context.Context, f followUp) outcome {
	var err error
	for _, delay := range followUpDelays() {
		select {
		case <-ctx.Done():
			return outcomeUnknown
		case <-time.After(delay):
		}
		var pod *corev1.Pod
		var found bool
		if pod, found, err = i.afterwards.find(ctx, f.pod, f.admission); found {
			return i.tell(f, pod)
		}
	}
	if err != nil {
		logf.FromContext(ctx).V(1).Info("outcome of an admission not known", "namespace", f.pod.namespace, "pod", f.pod.name, "cause", err.Error())
		return outcomeUnknown
	}
	i.refusals.unmade(f.pod)
	return outcomeUnmade
}

// tell notes that a pod is there, and sends the Event if it is of the followed
// admission and has the agent.
func (i *Injector) tell(f followUp, pod *corev1.Pod) outcome {
	agent := injection.IsInjected(pod)
	i.refusals.made(f.pod, agent)
	if !agent {
		return outcomeWithout
	}
	if f.decision.Reason == injection.Injected && isOf(pod, f.admission) {
		i.sendEvent(f.pod.namespace, pod, f.member, f.decision)
	}
	return outcomeInjected
}
