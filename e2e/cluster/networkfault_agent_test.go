//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// owner is whose faults the controller's are, at agents.
const owner = "tidelay-controller"

// A pod that is deleted during a fault has it again within a second of its agent listening,
// and so have its peers.
func TestNetworkFaultPodReplaced(t *testing.T) {
	ctx := onFaulted(t, needs(theController), needs(theInjector))
	theFaulted.runSlow(ctx, t, "slow")
	const attempts = 3 // a busy machine can make one late, not every one
	for i := range attempts {
		theFaulted.replace(ctx, t, "tikv-0")
		theFaulted.wantMatrix(ctx, t, "the pod is replaced", slowTiKV(added))
		theFaulted.wantPhase(ctx, t, "slow", v1alpha1.Running, "Applied")
		took := theFaulted.untilFaulted(ctx, t, "tikv-0")
		t.Logf("the new pod has its fault %s after its agent began to listen", took)
		if took <= time.Second {
			return
		}
		if i == attempts-1 {
			t.Errorf("the new pod had its fault %s after its agent began to listen, want a second at most", took)
		}
	}
}

// replace deletes a member's pod and waits until the new one is ready, with a pinger.
func (w *world) replace(ctx context.Context, t *testing.T, member string) {
	t.Helper()
	old := w.member(ctx, t, member)
	if err := w.Delete(ctx, &old); err != nil {
		t.Fatal(err)
	}
	err := w.poll(ctx, func(ctx context.Context) error {
		var pod corev1.Pod
		if err := w.Get(ctx, old.Name, w.namespace, &pod); err != nil {
			return err
		}
		if pod.UID == old.UID || !podReady(pod) {
			return fmt.Errorf("pod %s is not new and ready", old.Name)
		}
		return nil
	})
	if err == nil {
		err = w.givePingers(ctx, faulted)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, w.describe(ctx))
	}
}

// untilFaulted reads in the log of a member's agent how long after it began to listen it had
// its first fault. It listens right after its engine runs.
func (w *world) untilFaulted(ctx context.Context, t *testing.T, member string) time.Duration {
	t.Helper()
	log, err := w.kubectl(ctx, "", "logs", "--timestamps", ofFaulted(member), "-c", agentName)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	at := func(message string) time.Time {
		t.Helper()
		for line := range strings.Lines(log) {
			stamp, text, _ := strings.Cut(line, " ")
			if when, err := time.Parse(time.RFC3339Nano, stamp); err == nil && strings.Contains(text, message) {
				return when
			}
		}
		t.Fatalf("the agent of %s did not log %q:\n%s", member, message, log)
		return time.Time{}
	}
	return at("fault changed").Sub(at("engine runs")).Round(time.Millisecond)
}

// An agent that is killed is started again by kubelet, and has its faults again.
func TestNetworkFaultAgentKilled(t *testing.T) {
	ctx := onFaulted(t)
	theFaulted.runSlow(ctx, t, "slow")
	pod := theFaulted.member(ctx, t, "tikv-0")
	before := containerStatus(t, pod, agentName)
	theFaulted.signaller(ctx, t, pod).send(ctx, t, "KILL", pod, agentName)
	theFaulted.waitForRestart(ctx, t, "tikv-0", before)
	theFaulted.wantMatrix(ctx, t, "started again", slowTiKV(added))
	theFaulted.wantPhase(ctx, t, "slow", v1alpha1.Running, "Applied")
}

// waitForRestart waits until a member's agent has been started again since it had a status.
func (w *world) waitForRestart(ctx context.Context, t *testing.T, member string, before corev1.ContainerStatus) {
	t.Helper()
	err := w.poll(ctx, func(ctx context.Context) error {
		if now := containerStatus(t, w.member(ctx, t, member), agentName); now.RestartCount == before.RestartCount || now.State.Running == nil {
			return fmt.Errorf("the agent has not been started again: %+v", now.State)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What somebody else does to the controller's faults at an agent is put right when they are
// renewed, and an Event says so.
func TestNetworkFaultReplacedByHand(t *testing.T) {
	ctx := onFaulted(t)
	theFaulted.runSlow(ctx, t, "slow")
	pod, since := theFaulted.member(ctx, t, "tikv-0"), time.Now().Truncate(time.Second)
	// The controller may put this right before anybody has measured it.
	answer, err := theFaulted.agent(ctx, t, pod).ReplaceOwned(ctx, owner, []api.Fault{})
	if err != nil || len(answer.Body.Changes) == 0 || len(answer.Body.Faults) > 0 {
		t.Fatalf("replaced by hand: %v, %+v, want the controller's fault gone", err, answer.Body)
	}
	const renewal = 70 * time.Second // each minute, and the time to measure
	theFaulted.wantMatrixWithin(ctx, t, renewal, "put right", slowTiKV(added))
	err = theFaulted.poll(ctx, func(ctx context.Context) error { return theFaulted.findEvent(ctx, t, since, pod.Name) })
	if err != nil {
		t.Error(err)
	}
}

// findEvent looks for an Event on a NetworkFault or on the TidbCluster whose message names
// something, and logs it.
func (w *world) findEvent(ctx context.Context, t *testing.T, since time.Time, name string) error {
	t.Helper()
	var events corev1.EventList
	if err := w.List(ctx, &events); err != nil {
		return err
	}
	for _, e := range events.Items {
		kind, when := e.InvolvedObject.Kind, e.EventTime.Time
		if e.LastTimestamp.After(when) {
			when = e.LastTimestamp.Time
		}
		if e.Series != nil && e.Series.LastObservedTime.After(when) {
			when = e.Series.LastObservedTime.Time
		}
		if (kind == "NetworkFault" || kind == "TidbCluster") && !when.Before(since) && strings.Contains(e.Message, name) {
			t.Logf("Event on %s %s: %s %s: %s", kind, e.InvolvedObject.Name, e.Type, e.Reason, e.Message)
			return nil
		}
	}
	return fmt.Errorf("no Event on a NetworkFault or a TidbCluster names %s since %s", name, since)
}
