package networkfault

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

var (
	running = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	waiting = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	ended   = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137}}
)

const (
	toPeer   = `{"from": ["tikv(0)"], "to": ["tikv(1)"], "rtt": "50ms", "untilDeleted": true}`
	partly   = `{"from": ["tikv(0)"], "to": ["tikv(1)"], "rtt": "50ms", "untilDeleted": true, "allow": ["Partial"]}`
	hasEnded = "basic-tikv-1 (its attached agent has ended)"
	mayStay  = "what such an agent held by netem may last until another one is attached"
)

// agentBecomes gives basic-tikv-1 attached agents in some states, or has its injected one be so.
func (w *world) agentBecomes(isAttached bool, states ...corev1.ContainerState) {
	w.t.Helper()
	change(w, "basic-tikv-1", &corev1.Pod{}, func(p *corev1.Pod) {
		if isAttached {
			p.Spec.EphemeralContainers, p.Status.EphemeralContainerStatuses = nil, nil
			attach(p, states...)
		} else {
			p.Status.ContainerStatuses[1].State = states[0]
		}
	})
}

// delays returns what the agents of both stores are to delay, together.
func (w *world) delays() (all time.Duration) {
	for _, pod := range []types.UID{"basic-tikv-0-uid", "basic-tikv-1-uid"} {
		for _, f := range w.agents.held[pod] {
			all += f.Impairment.Delay
		}
	}
	return all
}

// An attached agent that has ended is none: a fault for its pod does not start. One that is in
// force goes on at the other pod, with all of the round trip there, and says so. What that
// agent held may be there still, which is told. The next agent gets its share.
func TestAnAttachedAgentThatHasEnded(t *testing.T) {
	w := newWorld(t)
	w.agentBecomes(true, running)
	w.fault("slow", toPeer)
	w.reconcile()
	if s := w.status("slow"); s.Phase != v1alpha1.Running || s.Applied != "2/2" || w.delays() != 50*time.Millisecond {
		t.Fatalf("status %+v, delays %s", s, w.delays())
	}
	w.agentBecomes(true, ended)
	w.fault("late", toPeer)
	w.reconcile()
	w.reconcile() // the other agent has confirmed it
	if s := w.status("late"); s.Phase != v1alpha1.Refused || s.Reason != decide.ReasonNoAgent || !strings.HasPrefix(s.Message, hasEnded+": without an agent; ") || !strings.Contains(s.Message, mayStay) {
		t.Errorf("one that is to start is %s, %s: %q", s.Phase, s.Reason, s.Message)
	}
	s := w.status("slow")
	if s.Phase != v1alpha1.Running || s.Reason != decide.ReasonNotApplied || s.Applied != "1/2" || !strings.HasPrefix(s.Message, "basic-tikv-1: its attached agent has ended; "+mayStay) {
		t.Errorf("one that runs is %s, %s at %s: %q", s.Phase, s.Reason, s.Applied, s.Message)
	}
	if _, isAsked := w.agents.held["basic-tikv-1-uid"]; isAsked || w.delays() != 50*time.Millisecond {
		t.Errorf("the agent that has ended is asked: %t; delays %s, want all 50ms at the other pod", isAsked, w.delays())
	}
	w.agentBecomes(true, ended, running)
	w.reconcile()
	w.reconcile()
	if s := w.status("slow"); s.Reason != decide.ReasonApplied || s.Applied != "2/2" || s.Message != "" || len(w.agents.held["basic-tikv-1-uid"]) != 1 {
		t.Errorf("status %+v with another agent", s)
	}
}

// A fault that allows to be partial goes on at the other pod, with all of the round trip there,
// and takes in the next agent that is attached.
func TestAPartialFaultWithoutAnAttachedAgent(t *testing.T) {
	w := newWorld(t)
	w.agentBecomes(true, running)
	w.fault("slow", partly)
	w.reconcile()
	w.agentBecomes(true, ended)
	w.reconcile()
	w.reconcile() // the other agent has confirmed it
	s := w.status("slow")
	if s.Phase != v1alpha1.Running || s.Applied != "1/1" || w.delays() != 50*time.Millisecond || !strings.HasPrefix(s.Message, "left out: "+hasEnded+"; "+mayStay) {
		t.Errorf("status %+v, delays %s; want all 50ms at the other pod", s, w.delays())
	}
	w.agentBecomes(true, ended, running)
	w.reconcile()
	w.reconcile()
	if s := w.status("slow"); s.Applied != "2/2" || s.Message != "" || len(w.agents.held["basic-tikv-1-uid"]) != 1 {
		t.Errorf("status %+v with another agent", s)
	}
}

// An agent that is down for a while keeps its place: an injected one is started again, and one
// that is attached and waits for its image may start.
func TestAnAgentThatIsDownForAWhile(t *testing.T) {
	for name, test := range map[string]struct {
		isAttached bool
		state      corev1.ContainerState
	}{
		"injected, ended": {false, ended}, "injected, waiting": {false, waiting}, "attached, waiting": {true, waiting},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fault("slow", toPeer)
			w.reconcile()
			w.agentBecomes(test.isAttached, test.state)
			w.reconcile()
			if s := w.status("slow"); s.Phase != v1alpha1.Running || len(w.agents.held["basic-tikv-1-uid"]) != 1 {
				t.Errorf("status %+v, want the fault to go on", s)
			}
		})
	}
}
