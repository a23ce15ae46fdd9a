package decide_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

func TestAnAgentRefuses(t *testing.T) {
	for _, applied := range []bool{false, true} {
		w := newWorld(t)
		w.fault("first", slowLeader)
		w.run()
		second := w.fault("second", `{"from": ["tikv(0)"], "corrupt": {"percent": 1}, "duration": "1m"}`)
		d := w.decide()
		if applied {
			w.hold(d)
			w.decide()
		}
		p := w.pod("basic-tikv-0")
		var refused []compile.Fault
		for _, f := range d.Faults[p.Name] {
			refused = append(refused, f.Fault)
		}
		p.State = decide.AgentState{Failed: "422 corrupt is not supported here", Refused: refused}
		d = w.decide()
		w.want(w.Faults[0], v1alpha1.Running, decide.ReasonNotApplied, "basic-tikv-0: 422 corrupt")
		if applied {
			for range 3 {
				w.want(second, v1alpha1.Running, decide.ReasonNotApplied, "basic-tikv-0: 422 corrupt")
				w.decide()
			}
			continue
		}
		w.want(second, v1alpha1.Refused, decide.ReasonAgentRefused, "basic-tikv-0: 422 corrupt")
		w.hold(d)
		w.decide()
		w.want(w.Faults[0], v1alpha1.Running, decide.ReasonApplied, "")
	}
}

// TestWhatAnAgentRefusedStartsAnew changes a fault that an agent refused, long after.
func TestWhatAnAgentRefusedStartsAnew(t *testing.T) {
	w := newWorld(t)
	f := w.fault("odd", `{"from": ["pd(leader)"], "duplicate": {"percent": 1}, "duration": "10m"}`)
	d := w.decide()
	p := w.pod("basic-tikv-0")
	p.State.Failed = "this kernel can't duplicate"
	for _, one := range d.Faults[p.Name] {
		p.State.Refused = append(p.State.Refused, one.Fault)
	}
	w.decide()
	if f.Status.Phase != v1alpha1.Refused || f.Status.StartedAt != nil || f.Status.ExpiresAt != nil || len(f.Status.Selected) > 0 {
		t.Fatalf("status %+v, want it refused as if it had never started", f.Status)
	}
	w.Now = w.Now.Add(time.Hour)
	w.lead("basic-pd-2")
	f.Spec.Duplicate, f.Spec.RTT, f.Generation = nil, "5ms", 2
	p.State = decide.AgentState{}
	w.run()
	w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
	if f.Status.Selected[0].Pod != "basic-pd-2" || !f.Status.ExpiresAt.After(w.Now.Add(9*time.Minute)) {
		t.Errorf("status %+v, want it to start with the new leader, for ten minutes", f.Status)
	}
}

func TestPartialLeavesPodsOut(t *testing.T) {
	w := newWorld(t)
	w.pod("basic-tidb-0").HostNetwork = true
	f := w.fault("slow", `{"from": ["pd(leader)"], "rtt": "50ms", "untilDeleted": true, "allow": ["Partial"]}`)
	w.run()
	w.want(f, v1alpha1.Running, decide.ReasonApplied, "left out: basic-tidb-0")
	if f.Status.Applied != "7/7" || f.Status.ExpiresAt != nil {
		t.Errorf("applied %s, until %s", f.Status.Applied, f.Status.ExpiresAt)
	}
}

// TestPartialHarmsNoOther refuses, at one pod, a fault that allows to be partial: alone it
// stays in force elsewhere, and where it is for the packets of another fault it is taken
// back, since that pod could hold neither.
func TestPartialHarmsNoOther(t *testing.T) {
	for to, phase := range map[string]v1alpha1.Phase{"pd": v1alpha1.Running, "tidb": v1alpha1.Refused} {
		w := newWorld(t)
		w.fault("slow", `{"from": ["tikv"], "to": ["tidb"], "rtt": "5ms", "untilDeleted": true}`)
		w.run()
		odd := w.fault("odd", fmt.Sprintf(`{"from": ["tikv"], "to": [%q], "duplicate": {"percent": 1}, "untilDeleted": true, "allow": ["Partial"]}`, to))
		d := w.decide()
		w.hold(d)
		p := w.pod("basic-tikv-0")
		p.State = decide.AgentState{Failed: "this kernel can't duplicate"}
		for _, f := range d.Faults[p.Name] {
			if slices.Contains(f.Objects, "odd") {
				p.State.Refused = append(p.State.Refused, f.Fault)
			} else {
				p.State.Holds = append(p.State.Holds, f.Fault)
			}
		}
		w.decide()
		if odd.Status.Phase != phase {
			t.Errorf("to %s: %s (%s), want %s", to, odd.Status.Phase, odd.Status.Message, phase)
		}
	}
}

func TestAPodThatIsReplacedIsMissed(t *testing.T) {
	w := newWorld(t)
	f := w.fault("slow", `{"from": ["tikv(random)"], "rtt": "50ms", "duration": "1h"}`)
	w.run()
	name := f.Status.Selected[0].Pod
	pods := slices.Clone(w.Pods)
	w.Pods = slices.DeleteFunc(w.Pods, func(p decide.Pod) bool { return p.Name == name })
	w.decide()
	w.want(f, v1alpha1.Running, decide.ReasonNotApplied, name+" is not there")
	w.Pods = pods
	w.pod(name).Addrs = nil
	w.decide()
	w.want(f, v1alpha1.Running, decide.ReasonNotApplied, name+" has no address of its own yet")
	w.pod(name).Addrs = []netip.Addr{netip.MustParseAddr("10.0.9.9")}
	w.run()
	w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
}

// Two pods have one address for a moment. No agent is to have it, so that none refuses it; the
// others go on, and all is in force when each has its own.
func TestTwoPodsWithOneAddress(t *testing.T) {
	w := newWorld(t)
	ground, slow := w.topology("ground", threeZones), w.fault("slow", `{"from": ["tikv(0)"], "rtt": "50ms", "untilDeleted": true}`)
	w.run()
	own := w.pod("basic-tikv-0").Addrs
	shared := w.pod("basic-tikv-1").Addrs
	w.pod("basic-tikv-0").Addrs = append(slices.Clone(shared), netip.MustParseAddr("fd00::1"))
	started := w.fault("started", `{"from": ["tikv(1)"], "to": ["tikv(2)"], "rtt": "5ms", "untilDeleted": true}`)
	for range 2 {
		d := w.run()
		for pod, faults := range d.Faults {
			if pod == "basic-tikv-0" || pod == "basic-tikv-1" {
				t.Errorf("%s is to have %v", pod, faults)
			}
			for _, f := range faults {
				if slices.Contains(f.Match.Peers, netip.PrefixFrom(shared[0], 32)) {
					t.Errorf("%s has a fault for %s", pod, shared[0])
				}
			}
		}
		const words = "has no address of its own yet"
		w.wantTopology(ground, v1alpha1.Running, decide.ReasonNotApplied, "basic-tikv-0 "+words+"; basic-tikv-1 "+words)
		w.want(slow, v1alpha1.Running, decide.ReasonNotApplied, "basic-tikv-0 "+words)
		w.want(started, v1alpha1.Running, decide.ReasonNotApplied, "basic-tikv-1 "+words)
		if got := w.added(d, "basic-pd-0", "basic-pd-1"); got != 20*time.Millisecond {
			t.Errorf("%s between others, want 20ms", got)
		}
	}
	w.pod("basic-tikv-0").Addrs = own
	d := w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	w.want(slow, v1alpha1.Running, decide.ReasonApplied, "")
	w.want(started, v1alpha1.Running, decide.ReasonApplied, "")
	if got := w.added(d, "basic-pd-1", "basic-tikv-0"); got != 70*time.Millisecond {
		t.Errorf("%s, want 70ms", got)
	}
}

// What an agent holds that does not answer, or does not run, is not known: the fault is not
// said to be in force there, goes on, and counts for safety as before. Nobody else's
// refusal takes back what was in force everywhere.
func TestASilentAgent(t *testing.T) {
	for words, state := range map[string]decide.AgentState{
		"basic-tikv-0 does not answer: connection refused; what it holds is not known": {Silent: true, Failed: "connection refused"},
		"basic-tikv-0: its agent does not run; what it holds is not known":             {Down: true, Failed: "it does not run"},
	} {
		t.Run(words, func(t *testing.T) { testASilentAgent(t, state, words) })
	}
}

func testASilentAgent(t *testing.T, state decide.AgentState, words string) {
	w := newWorld(t)
	cut := w.fault("cut", `{"from": ["tikv(0)"], "partition": true, "duration": "1m"}`)
	held := w.run()
	w.want(cut, v1alpha1.Running, decide.ReasonApplied, "")
	p := w.pod("basic-tikv-0")
	p.State = state
	for range 2 {
		d := w.decide()
		w.want(cut, v1alpha1.Running, decide.ReasonNotApplied, words)
		if diff := cmp.Diff(faulted(held), faulted(d)); diff != "" || cut.Status.Applied != "7/8" {
			t.Errorf("applied %s, faults at (-before +after)\n%s", cut.Status.Applied, diff)
		}
		c := meta.FindStatusCondition(cut.Status.Conditions, v1alpha1.Applied)
		if c == nil || c.Status != metav1.ConditionFalse || c.Reason != decide.ReasonNoLongerApplied || c.Message != cut.Status.Message {
			t.Errorf("condition %+v", c)
		}
	}
	second := w.fault("second", `{"from": ["tikv(1)"], "partition": true, "duration": "1m"}`)
	w.decide()
	w.want(second, v1alpha1.Refused, string(v1alpha1.QuorumLoss), "basic-tikv-1")

	other := w.pod("basic-tikv-1")
	other.State.Failed, other.State.Refused, other.State.Holds = "409 something is in the way", other.State.Holds, nil
	w.decide()
	w.want(cut, v1alpha1.Running, decide.ReasonNotApplied, "basic-tikv-1: 409 something is in the way")

	w.run()
	w.want(cut, v1alpha1.Running, decide.ReasonApplied, "")
	if cut.Status.Applied != "8/8" {
		t.Errorf("applied %s once the agent answers", cut.Status.Applied)
	}
}

// A change beside an agent that does not run, or does not answer, is in force at all others,
// and says so.
func TestAChangeBesideALostAgent(t *testing.T) {
	for words, state := range map[string]decide.AgentState{
		"basic-tikv-0 does not answer: timeout": {Silent: true, Failed: "timeout"},
		"basic-tikv-0: its agent does not run":  {Down: true, Failed: "it does not run"},
	} {
		w := newWorld(t)
		ground, f := w.topology("ground", threeZones), w.fault("slow", slowLeader)
		w.run()
		w.pod("basic-tikv-0").State = state
		ground.Spec.Links[0].RTT, ground.Generation = "30ms", 2
		f.Spec.RTT, f.Generation = "60ms", 2
		d := w.run()
		w.pod("basic-tikv-0").State = state
		w.decide()
		w.wantTopology(ground, v1alpha1.Running, decide.ReasonNotApplied, words)
		w.want(f, v1alpha1.Running, decide.ReasonNotApplied, words)
		if got := w.added(d, "basic-pd-0", "basic-pd-1"); got != 90*time.Millisecond || ground.Status.Applied != "7/8" || f.Status.Applied != "7/8" {
			t.Errorf("%s, applied %s and %s; want 90ms, 7/8 and 7/8", got, ground.Status.Applied, f.Status.Applied)
		}
	}
}

// A change of a fault while one of its pods has no agent is refused, so that it can be changed
// again; with Partial it is in force at the others.
func TestAChangeWithoutAnAgent(t *testing.T) {
	for _, allow := range [][]v1alpha1.Allowance{nil, {v1alpha1.Partial}} {
		w := newWorld(t)
		f := w.fault("slow", slowLeader)
		w.run()
		w.pod("basic-tikv-0").Agent = false
		f.Spec.RTT, f.Spec.Allow, f.Generation = "60ms", allow, 2
		d := w.run()
		if allow != nil {
			w.want(f, v1alpha1.Running, decide.ReasonApplied, "left out: basic-tikv-0")
			continue
		}
		w.want(f, v1alpha1.Refused, decide.ReasonNoAgent, "basic-tikv-0: without an agent")
		if len(faulted(d)) > 0 {
			t.Errorf("faults at %v", faulted(d))
		}
		w.pod("basic-tikv-0").Agent = true
		f.Generation = 3
		w.run()
		w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
	}
}

// A fault whose last attached agent has ended goes on, at no pod, until another is attached. A
// change of it is refused meanwhile.
func TestTheOnlyAgentHasEnded(t *testing.T) {
	w := newWorld(t)
	f := w.fault("out", `{"from": ["tikv(0)"], "to": ["cidr/192.0.2.0/24"], "rtt": "50ms", "untilDeleted": true}`)
	w.run()
	p := w.pod("basic-tikv-0")
	p.Agent, p.AgentEnded = false, true
	for range 2 {
		d := w.run()
		w.want(f, v1alpha1.Running, decide.ReasonNotApplied, "basic-tikv-0: its attached agent has ended; what such an agent held by netem may last")
		if f.Status.Applied != "0/1" || len(faulted(d)) > 0 {
			t.Errorf("applied %s, faults at %v", f.Status.Applied, faulted(d))
		}
	}
	p.Agent, p.AgentEnded = true, false
	w.run()
	w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
	p.Agent, p.AgentEnded = false, true
	f.Spec.RTT, f.Generation = "60ms", 2
	w.run()
	w.want(f, v1alpha1.Refused, decide.ReasonNoAgent, "basic-tikv-0 (its attached agent has ended): without an agent")
}

// A fault starts although an agent is silent, and says so.
func TestAStartBesideASilentAgent(t *testing.T) {
	w := newWorld(t)
	w.pod("basic-tikv-0").State = decide.AgentState{Silent: true, Failed: "timeout after 5s"}
	f := w.fault("slow", slowLeader)
	d := w.decide()
	for i := range w.Pods {
		if p := &w.Pods[i]; !p.State.Silent {
			p.State = holding(d.Faults[p.Name])
		}
	}
	w.decide()
	w.want(f, v1alpha1.Running, decide.ReasonNotApplied, "basic-tikv-0 does not answer: timeout after 5s")
	if f.Status.Applied != "7/8" {
		t.Errorf("applied %s", f.Status.Applied)
	}
	w.run()
	w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
}

// What agents warn of about a fault is in its status and no other one's, once for all pods.
func TestWarnings(t *testing.T) {
	w := newWorld(t)
	f, other := w.fault("slow", slowLeader), w.fault("other", `{"from": ["tidb"], "to": ["tikv"], "rtt": "1ms", "duration": "1m"}`)
	w.hold(w.decide())
	mine := decide.Warning{Objects: []string{"slow"}, Text: "NetworkFault slow meets no TCP packet"}
	w.pod("basic-pd-0").State.Warnings = []decide.Warning{mine}
	w.pod("basic-tikv-0").State.Warnings = []decide.Warning{mine, mine, {Objects: []string{"gone"}, Text: "old"}}
	w.decide()
	w.want(other, v1alpha1.Running, decide.ReasonApplied, "")
	const words = "basic-pd-0, basic-tikv-0: NetworkFault slow meets no TCP packet"
	c := meta.FindStatusCondition(f.Status.Conditions, v1alpha1.Applied)
	if f.Status.Message != words || f.Status.Applied != "8/8" || other.Status.Message != "" || c.Status != metav1.ConditionTrue || !strings.HasSuffix(c.Message, words) {
		t.Errorf("message %q and %q, applied %s, condition %+v", f.Status.Message, other.Status.Message, f.Status.Applied, c)
	}
	w.pod("basic-pd-1").State.Failed, w.pod("basic-pd-1").State.Holds = "no", nil
	w.decide()
	w.want(f, v1alpha1.Running, decide.ReasonNotApplied, "basic-pd-1: no; "+words)
	w.run()
	if w.want(f, v1alpha1.Running, decide.ReasonApplied, ""); f.Status.Message != "" {
		t.Errorf("message %q", f.Status.Message)
	}
}
