//go:build apiserver

package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/e2e/madeup"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// errEarly is of a minute that is not over.
var errEarly = errors.New("the minute is not over")

// soon caps lives at agents, so that they are renewed after 5 s at most.
func soon() annotations { return annotations{maxDurationAnnotation: "10s"} }

func isTiDB(pod string) bool { return strings.Contains(pod, "tidb-") }

// wantRenewals waits until each agent with a fault was asked again.
func (d *database) wantRenewals(since map[string]madeup.Counts) {
	d.t.Helper()
	d.eventually(func() error {
		for _, pod := range d.holders() {
			if d.agents[pod].Counts().Changes == since[pod].Changes {
				return fmt.Errorf("the agent of %s was not asked to renew", pod)
			}
		}
		return nil
	})
}

// An agent that does not answer holds nobody else up, and is told after a while.
func (f *fleet) slowAgent(t *testing.T) {
	d := f.database(t, nil)
	slow := d.agents["basic-tikv-1"]
	slow.Act(madeup.Way{Hang: true})
	d.create("slow", "to: [pd]")
	d.eventually(func() error {
		if got := d.holders(); len(got) < 6 {
			return fmt.Errorf("held by %q", got)
		}
		return nil
	})
	if c := slow.Counts(); c.Changes > 2 {
		t.Errorf("the others hold the fault after the slow agent was given up: %+v", c)
	}
	d.becomes("slow", "Running NotApplied 5/6", "basic-tikv-1 does not answer: timeout after 5s; what it holds is not known")
	d.wantEvents("NetworkFault", "slow", "Warning NotApplied")
	slow.Act(madeup.Way{})
	d.becomes("slow", "Running Applied 6/6")
	d.wantEffects(d.between("tikv", "pd", "25ms"))
}

// Where an agent refuses a fault that starts, all others let go of it, and the status has
// the agent's words. It starts when it is changed and no agent refuses it.
func (f *fleet) agentRefuses(t *testing.T) {
	const words = `faults[0].reorder: reorder is not supported here: this kernel has no netem`
	d := f.database(t, nil)
	refusal := madeup.Problem(http.StatusUnprocessableEntity, words, api.FieldError{Field: "faults[0].reorder", Accepted: "want none"})
	d.agents["basic-pd-2"].Act(madeup.Way{Refuse: &refusal})
	u := d.create("slow", "to: [pd], reorder: {percent: 10}")
	d.becomes("slow", "Refused AgentRefused", "the agent of pod basic-pd-2: NetworkFault slow: reorder: reorder is not supported here: this kernel has no netem. It is tried again")
	d.wantEffects(effects{})
	d.wantEvents("NetworkFault", "slow", "Warning Refused")
	d.agents["basic-pd-2"].Act(madeup.Way{})
	must(t, patchSpec(t, u, "reorder: null"))
	d.becomes("slow", "Running Applied 6/6")
	d.wantEffects(d.between("tikv", "pd", "25ms"))
}

// An agent whose answer has other faults than it was asked for does not hold the fault as
// far as anybody knows.
func (f *fleet) agentLies(t *testing.T) {
	d := f.database(t, nil)
	d.agents["basic-tikv-0"].Act(madeup.Way{Lie: true})
	d.create("slow", "to: [pd]")
	d.becomes("slow", "Running NotApplied 5/6", "basic-tikv-0: the agent answered with other faults than it was asked for")
	d.agents["basic-tikv-0"].Act(madeup.Way{})
	d.becomes("slow", "Running Applied 6/6")
}

// An agent that nobody reaches does not count any more after the next renewal, long before
// the lives of its faults are over: what it holds is not known. It counts again when it has
// said that it holds them.
func (f *fleet) agentVanishes(t *testing.T) {
	d := f.database(t, nil)
	d.create("slow", "to: [pd]")
	before := d.becomes("slow", "Running Applied 6/6")
	gone := d.agents["basic-pd-0"]
	must(t, gone.Vanish())
	got := d.becomes("slow", "Running NotApplied 5/6", "basic-pd-0 does not answer: connection refused; what it holds is not known")
	applied := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.Applied)
	if applied == nil || applied.Status != metav1.ConditionFalse || applied.Message != got.Status.Message {
		t.Errorf("conditions %v", got.Status.Conditions)
	}
	if len(gone.Faults()) == 0 {
		t.Error("it is told only when its faults have ended")
	}
	d.wantEvents("NetworkFault", "slow", "Warning NotApplied")
	must(t, gone.Listen())
	after := d.becomes("slow", "Running Applied 6/6")
	if !after.Status.StartedAt.Equal(before.Status.StartedAt) {
		t.Errorf("it started again, at %s", after.Status.StartedAt)
	}
	d.wantEffects(d.between("tikv", "pd", "25ms"))
}

// An agent that has lost its state gets its faults again by the next renewal, which is
// told.
func (f *fleet) agentLosesState(t *testing.T) {
	d := f.database(t, soon())
	d.create("slow", "to: [pd]")
	d.becomes("slow", "Running Applied 6/6")
	must(t, d.agents["basic-tikv-2"].Set())
	d.wantPutRight("slow", "pod basic-tikv-2", "was missing")
	d.wantEffects(d.between("tikv", "pd", "25ms"))
	d.becomes("slow", "Running Applied 6/6")
}

// An agent that kubelet starts again is asked at once, and not at the next renewal, whether
// it still has its faults.
func (f *fleet) agentStartsAgain(t *testing.T) {
	d := f.database(t, nil)
	d.create("slow", "to: [pd]")
	d.becomes("slow", "Running Applied 6/6")
	must(t, d.agents["basic-tikv-2"].Set())
	began := time.Now()
	d.changeStatus("basic-tikv-2", func(s *corev1.PodStatus) { s.ContainerStatuses[1].ContainerID = "madeup://second" })
	d.wantPutRight("slow", "pod basic-tikv-2", "was missing")
	d.wantEffects(d.between("tikv", "pd", "25ms"))
	t.Logf("it has its faults after %s", time.Since(began).Round(time.Second/10))
}

// An agent of which kubelet says that it has ended does not count from that moment on. It
// counts again when it was started and has said what it holds.
func (f *fleet) agentEnds(t *testing.T) {
	d := f.database(t, nil)
	d.create("slow", "to: [pd]")
	d.becomes("slow", "Running Applied 6/6")
	gone := d.agents["basic-tikv-2"]
	must(t, gone.Vanish())
	d.changeStatus("basic-tikv-2", func(s *corev1.PodStatus) {
		s.ContainerStatuses[1].State.Terminated = &corev1.ContainerStateTerminated{ExitCode: 137, ContainerID: "madeup://first"}
	})
	d.becomes("slow", "Running NotApplied 5/6", "basic-tikv-2: its agent does not run; what it holds is not known")
	must(t, gone.Listen())
	d.changeStatus("basic-tikv-2", func(s *corev1.PodStatus) {
		s.ContainerStatuses[1].ContainerID, s.ContainerStatuses[1].State = "madeup://second", corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	})
	d.becomes("slow", "Running Applied 6/6")
}

// Faults of the controller's that somebody changed at an agent are put right, which is
// told. Those that he set for himself stay.
func (f *fleet) changedByHand(t *testing.T) {
	d := f.database(t, soon())
	d.create("slow", "to: [pd]")
	d.becomes("slow", "Running Applied 6/6")
	hers := api.Fault{Name: "hers", Peers: []string{"192.0.2.1"}, Delay: "1s"}
	changed := d.agents["basic-pd-1"].Faults()
	for i := range changed {
		changed[i].Delay = "99ms"
	}
	must(t, d.agents["basic-pd-1"].Set(append(changed, hers)...))
	d.wantPutRight("slow", "pod basic-pd-1", "was another one")
	d.wantEffects(d.between("tikv", "pd", "25ms"))
	found := false
	for _, f := range d.agents["basic-pd-1"].Faults() {
		found = found || f.Name == hers.Name
	}
	if !found {
		t.Error("the fault that a person set is gone")
	}
}

// A fault that somebody sets at an agent, and that takes packets away from the
// controller's, is in the status until it has gone. The NetworkFault is in force all the
// same.
func (f *fleet) takenByHand(t *testing.T) {
	d := f.database(t, soon())
	d.create("slow", "to: [pd]")
	d.becomes("slow", "Running Applied 6/6")
	agent := d.agents["basic-pd-1"]
	hers := api.Fault{Name: "hers", Peers: []string{d.addrs["basic-tikv-0"].String()}, Protocol: "icmp", Delay: "1ms"}
	must(t, agent.Set(append(agent.Faults(), hers)...))
	d.becomes("slow", "Running Applied 6/6", `basic-pd-1: fault "hers", set at the agent itself, takes packets away from NetworkFault slow`)
	must(t, agent.Set(slices.DeleteFunc(agent.Faults(), func(f api.Fault) bool { return f.Name == hers.Name })...))
	d.eventually(func() error {
		if got := d.becomes("slow", "Running Applied 6/6"); got.Status.Message != "" {
			return fmt.Errorf("message %q", got.Status.Message)
		}
		return nil
	})
}

// What no packet can meet is refused before any agent is asked.
func (f *fleet) inVain(t *testing.T) {
	d := f.database(t, nil)
	d.create("port", "to: [pd], ports: [2332]")
	d.create("loopback", "to: [cidr/127.0.0.0/8]")
	d.create("family", "to: ['cidr/fd00::/8']")
	d.becomes("port", "Refused Invalid", "spec.ports 2332: that is the agents' own TCP port")
	d.becomes("loopback", "Refused Invalid", "spec.to: cidr/127.0.0.0/8 is loopback")
	d.becomes("family", "Refused NobodySelected", "no pod of spec.from has an IPv6 address")
	d.wantEffects(effects{})
}

// wantPutRight waits for Events on a NetworkFault and its TidbCluster, and checks what they
// say.
func (d *database) wantPutRight(name string, words ...string) {
	d.t.Helper()
	d.wantEvents("NetworkFault", name, "Warning PutRight")
	d.wantEvents("TidbCluster", d.name, "Warning FaultPutRight")
	for _, e := range d.events() {
		for _, w := range words {
			if strings.HasSuffix(e.Reason, "PutRight") && !strings.Contains(e.Note, w) {
				d.t.Errorf("the Event %s says %q, want %q in it", e.Reason, e.Note, w)
			}
		}
	}
}

// The pod that takes the place of another one has its faults, and its peers have its new
// address.
func (f *fleet) podReplaced(t *testing.T) {
	d := f.database(t, nil)
	d.create("slow", "to: [pd]")
	d.becomes("slow", "Running Applied 6/6")
	old := d.addrs["basic-tikv-0"]
	d.replace("basic-tikv-0", true)
	d.becomes("slow", "Running Applied 6/6")
	d.wantEffects(d.between("tikv", "pd", "25ms"))
	d.addrs["basic-old-0"] = old
	for pair := range d.effects() {
		if strings.HasSuffix(pair, ">old-0") {
			t.Errorf("a peer still has the address of the pod that is gone: %s", pair)
		}
	}
}

// A pod without an agent refuses a fault that means it, unless the fault can do without.
func (f *fleet) podWithoutAgent(t *testing.T) {
	d := f.database(t, annotations{componentsAnnotation: "pd,tikv"})
	u := d.create("slow", "")
	d.becomes("slow", "Refused NoAgent", "basic-tidb-0, basic-tidb-1: without an agent", "allow: [Partial]")
	must(t, patchSpec(t, u, "allow: [Partial]"))
	d.becomes("slow", "Running Applied 6/6", "left out: basic-tidb-0, basic-tidb-1")
	want := d.between("tikv", "pd", "25ms")
	for _, tikv := range d.named("tikv") {
		for _, tidb := range d.named("tidb") {
			// The agent of one side delays both ways.
			want[tikv+">"+tidb] = "25ms"
		}
	}
	d.wantEffects(want)
}
