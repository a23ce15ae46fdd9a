package decide_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// world is a TidbCluster of 3 PD, 3 TiKV and 2 TiDB, and its faults.
type world struct {
	t *testing.T
	decide.Input
}

func newWorld(t *testing.T) *world {
	t.Helper()
	tc := &tcv1alpha1.TidbCluster{ObjectMeta: metav1.ObjectMeta{Name: "basic", Annotations: map[string]string{"tidelay.io/inject": "true"}}}
	tc.Spec = tcv1alpha1.TidbClusterSpec{
		Version: "v8.5.2", PD: &tcv1alpha1.PDSpec{Replicas: 3, BaseImage: "pingcap/pd"},
		TiKV: &tcv1alpha1.TiKVSpec{Replicas: 3}, TiDB: &tcv1alpha1.TiDBSpec{Replicas: 2},
	}
	tc.Status.PD = tcv1alpha1.PDStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Members: map[string]tcv1alpha1.PDMember{}}
	tc.Status.TiKV = tcv1alpha1.TiKVStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Stores: map[string]tcv1alpha1.TiKVStore{}}
	tc.Status.TiDB = tcv1alpha1.TiDBStatus{Phase: tcv1alpha1.NormalPhase, Members: map[string]tcv1alpha1.TiDBMember{}}
	w := &world{t: t, Input: decide.Input{Cluster: tc, Now: time.Unix(1_000_000, 500_000_000)}}
	for component, n := range map[tidbcluster.Component]int{tidbcluster.PD: 3, tidbcluster.TiKV: 3, tidbcluster.TiDB: 2} {
		for i := range n {
			name := fmt.Sprintf("basic-%s-%d", component, i)
			switch component {
			case tidbcluster.PD:
				tc.Status.PD.Members[name] = tcv1alpha1.PDMember{Name: name, Health: true}
			case tidbcluster.TiKV:
				tc.Status.TiKV.Stores[fmt.Sprint(i+1)] = tcv1alpha1.TiKVStore{ID: fmt.Sprint(i + 1), PodName: name, State: tcv1alpha1.TiKVStateUp}
			default:
				tc.Status.TiDB.Members[name] = tcv1alpha1.TiDBMember{Name: name, Health: true}
			}
			addr := netip.AddrFrom4([4]byte{10, 0, byte(len(component)), byte(len(w.Pods))})
			w.Pods = append(w.Pods, decide.Pod{Name: name, Component: component, Addrs: []netip.Addr{addr}, Agent: true, Ready: true})
		}
	}
	w.lead("basic-pd-1")
	return w
}

func (w *world) lead(pod string) { w.Cluster.Status.PD.Leader = w.Cluster.Status.PD.Members[pod] }

func (w *world) pod(name string) *decide.Pod {
	w.t.Helper()
	i := slices.IndexFunc(w.Pods, func(p decide.Pod) bool { return p.Name == name })
	if i < 0 {
		w.t.Fatalf("no pod %s", name)
	}
	return &w.Pods[i]
}

// fault adds a fault. Its spec is JSON without its cluster.
func (w *world) fault(name, spec string) *v1alpha1.NetworkFault {
	w.t.Helper()
	f := &v1alpha1.NetworkFault{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1, CreationTimestamp: metav1.Unix(int64(len(w.Faults)), 0)}}
	if err := json.Unmarshal([]byte(spec), &f.Spec); err != nil {
		w.t.Fatal(err)
	}
	f.Spec.Cluster = "basic"
	if f.Spec.To == nil {
		f.Spec.To = []v1alpha1.Selector{"others"}
	}
	w.Faults = append(w.Faults, f)
	return f
}

// decide decides and writes the statuses, as the API server keeps them.
func (w *world) decide() decide.Decision {
	w.t.Helper()
	d := decide.Decide(w.Input)
	for _, f := range w.Faults {
		status, ok := d.Statuses[f.Name]
		if !ok {
			continue
		}
		kept, err := json.Marshal(status)
		if err != nil {
			w.t.Fatal(err)
		}
		f.Status = v1alpha1.NetworkFaultStatus{}
		if err := json.Unmarshal(kept, &f.Status); err != nil {
			w.t.Fatal(err)
		}
	}
	return d
}

// hold has every agent hold what was decided.
func (w *world) hold(d decide.Decision) {
	for i := range w.Pods {
		w.Pods[i].State = decide.AgentState{}
		for _, f := range d.Faults[w.Pods[i].Name] {
			w.Pods[i].State.Holds = append(w.Pods[i].State.Holds, f.Fault)
		}
	}
}

// run decides until the agents hold what was decided.
func (w *world) run() decide.Decision {
	w.t.Helper()
	w.hold(w.decide())
	return w.decide()
}

func (w *world) want(f *v1alpha1.NetworkFault, phase v1alpha1.Phase, reason, words string) {
	w.t.Helper()
	s := f.Status
	if s.Phase != phase || s.Reason != reason || !strings.Contains(s.Message, words) {
		w.t.Errorf("%s is %s, %s: %q; want %s, %s: %q", f.Name, s.Phase, s.Reason, s.Message, phase, reason, words)
	}
}

// faulted returns the pods whose agents are to hold something.
func faulted(d decide.Decision) (pods []string) {
	for pod, faults := range d.Faults {
		if len(faults) > 0 {
			pods = append(pods, pod)
		}
	}
	slices.Sort(pods)
	return pods
}

const slowLeader = `{"from": ["pd(leader)"], "rtt": "50ms", "duration": "90.5s"}`

func TestAFaultRuns(t *testing.T) {
	w := newWorld(t)
	f := w.fault("slow", slowLeader)
	d := w.decide()
	w.want(f, v1alpha1.Running, decide.ReasonApplying, "")
	if f.Status.Applied != "0/8" || f.Status.What != "+50ms RTT" || len(faulted(d)) != 8 {
		t.Errorf("applied %s of %q, faults at %v", f.Status.Applied, f.Status.What, faulted(d))
	}
	w.hold(d)
	w.decide()
	w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
	if f.Status.Applied != "8/8" {
		t.Errorf("applied %s", f.Status.Applied)
	}
	// Half a second late at the start and at the end: times are in whole seconds.
	if length := f.Status.ExpiresAt.Sub(f.Status.StartedAt.Time); f.Status.StartedAt.Before(&metav1.Time{Time: w.Now}) || length != 91*time.Second {
		t.Errorf("from %s for %s", f.Status.StartedAt, length)
	}
	// Nothing is written while nothing changes.
	before := f.Status.DeepCopy()
	w.Now = w.Now.Add(time.Minute)
	if d = w.decide(); !cmp.Equal(*before, f.Status) || !d.Next.Equal(f.Status.ExpiresAt.Time) {
		t.Errorf("a minute later, next at %s:\n%s", d.Next, cmp.Diff(*before, f.Status))
	}
	w.Now = f.Status.ExpiresAt.Time
	if d = w.decide(); len(faulted(d)) > 0 || !d.Next.IsZero() {
		t.Errorf("after its end: faults at %v, next at %s", faulted(d), d.Next)
	}
	w.want(f, v1alpha1.Ended, decide.ReasonExpired, "")
}

func TestARoleIsPinned(t *testing.T) {
	w := newWorld(t)
	w.fault("slow", slowLeader)
	before := faulted(w.run())
	w.lead("basic-pd-2")
	d := w.decide()
	if diff := cmp.Diff(before, faulted(d)); diff != "" {
		t.Error(diff)
	}
	if faults := d.Faults["basic-pd-0"]; len(faults) != 1 || !slices.Equal(faults[0].Match.Peers, []netip.Prefix{netip.PrefixFrom(w.pod("basic-pd-1").Addrs[0], 32)}) {
		t.Errorf("after another leader: %+v", faults)
	}
}

func TestWhatStopsAFault(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*world)
		fresh   v1alpha1.Phase // of one that has not started
		running v1alpha1.Phase
		reason  string
	}{
		"no cluster":   {func(w *world) { w.Cluster = nil }, v1alpha1.Pending, v1alpha1.Ended, decide.ReasonClusterNotFound},
		"protected":    {func(w *world) { w.Cluster.Annotations["tidelay.io/protect"] = "yes" }, v1alpha1.Refused, v1alpha1.Ended, decide.ReasonProtected},
		"not injected": {func(w *world) { delete(w.Cluster.Annotations, "tidelay.io/inject") }, v1alpha1.Refused, v1alpha1.Ended, decide.ReasonNotInjected},
		"paused":       {func(w *world) { w.Faults[0].Spec.Paused = true; w.Faults[0].Generation++ }, v1alpha1.Paused, v1alpha1.Paused, decide.ReasonPaused},
		"no agent":     {func(w *world) { w.pod("basic-tikv-0").Agent = false }, v1alpha1.Refused, v1alpha1.Ended, decide.ReasonNoAgent},
		"the node's":   {func(w *world) { w.pod("basic-tikv-0").HostNetwork = true }, v1alpha1.Refused, v1alpha1.Ended, decide.ReasonHostNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			for _, started := range []bool{false, true} {
				w := newWorld(t)
				f := w.fault("slow", slowLeader)
				want := test.fresh
				if started {
					w.run()
					want = test.running
				}
				test.change(w)
				if d := w.decide(); len(faulted(d)) > 0 {
					t.Errorf("faults at %v", faulted(d))
				}
				w.want(f, want, test.reason, "")
			}
		})
	}
}

func TestWhatIsRefusedStaysSoUntilItIsChanged(t *testing.T) {
	w := newWorld(t)
	w.pod("basic-tikv-0").Agent = false
	f := w.fault("slow", slowLeader)
	w.decide()
	w.pod("basic-tikv-0").Agent = true
	w.decide()
	w.want(f, v1alpha1.Refused, decide.ReasonNoAgent, "basic-tikv-0: without an agent")
	f.Generation++
	w.run()
	w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
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

func TestBadSpecs(t *testing.T) {
	for spec, words := range map[string]string{
		`{"from": ["tikv(leadr)"], "rtt": "50ms", "duration": "1m"}`:                   `spec.from[0]: selector "tikv(leadr)", character 6`,
		`{"from": ["others"], "rtt": "50ms", "duration": "1m"}`:                        "spec.from[0]: others can be on the side spec.to only",
		`{"from": ["tikv"], "rtt": "50ms", "jitter": "60ms", "duration": "1m"}`:        `spec.jitter "60ms"`,
		`{"from": ["tikv"], "rtt": "601s", "duration": "1m"}`:                          `spec.rtt "601s"`,
		`{"from": ["tikv"], "loss": {"percent": 0.00001}, "duration": "1m"}`:           "spec.loss.percent",
		`{"from": ["tikv"], "rtt": "1ms", "ports": [0], "duration": "1m"}`:             "spec.ports[0]",
		`{"from": ["tikv"], "rtt": "1ms", "ports": [1, "2-1"], "duration": "1m"}`:      "spec.ports[1]",
		`{"from": ["tikv"], "rtt": "1ms"}`:                                             "spec.duration",
		`{"from": ["tikv(0)"], "to": ["tikv(0)"], "rtt": "1ms", "duration": "1m"}`:     "are the same pod",
		`{"from": ["tidb(minority)"], "rtt": "1ms", "duration": "1m"}`:                 "selects nobody",
		`{"from": ["pd"], "to": ["cidr/10.0.0.0/8"], "rtt": "1ms", "duration": "1m"}`:  "a range has the address",
		`{"from": ["pd(leader)"], "to": ["pd"], "partition": true, "duration": "20m"}`: "maxFailoverCount",
	} {
		w := newWorld(t)
		f := w.fault("bad", spec)
		if d := w.decide(); len(faulted(d)) > 0 || f.Status.Phase != v1alpha1.Refused || !strings.Contains(f.Status.Message, words) {
			t.Errorf("%s: %s, %q, faults at %v", spec, f.Status.Phase, f.Status.Message, faulted(d))
		}
	}
}

func TestAnUnknownRoleIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.Cluster.Status.PD.Synced = false
	f := w.fault("slow", `{"from": ["pd(leader)"], "rtt": "50ms", "duration": "1m", "allow": ["UnhealthyStart"]}`)
	w.decide()
	w.want(f, v1alpha1.Pending, decide.ReasonRoleUnknown, "status.pd.synced is false")
	w.Cluster.Status.PD.Synced = true
	w.decide()
	w.want(f, v1alpha1.Running, decide.ReasonApplying, "")
}

func TestAStartThatCouldNotBeWritten(t *testing.T) {
	w := newWorld(t)
	running := w.fault("first", slowLeader)
	w.run()
	fresh := w.fault("second", slowLeader)
	w.Hold = map[string]bool{"first": true, "second": true}
	for pod, faults := range w.decide().Faults {
		for _, f := range faults {
			if !slices.Equal(f.Objects, []string{"first"}) {
				t.Errorf("%s has the faults of %v", pod, f.Objects)
			}
		}
	}
	w.want(running, v1alpha1.Running, decide.ReasonApplied, "")
	w.want(fresh, v1alpha1.Pending, decide.ReasonStarting, "")
}

// The one that runs goes on, also where the other one is older.
func TestWhatCannotBeCombined(t *testing.T) {
	w := newWorld(t)
	older := w.fault("older", `{"from": ["tikv"], "rate": {"perSecond": "10mbit"}, "duration": "1h", "paused": true}`)
	newer := w.fault("newer", `{"from": ["tikv"], "rate": {"perSecond": "20mbit"}, "duration": "1h"}`)
	w.run()
	older.Spec.Paused = false
	older.Generation++
	w.decide()
	w.want(older, v1alpha1.Refused, decide.ReasonConflict, "can't be combined with NetworkFault newer: two rates")
	w.want(newer, v1alpha1.Running, decide.ReasonApplied, "")
}

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

func TestSafety(t *testing.T) {
	w := newWorld(t)
	cut := w.fault("cut", `{"from": ["tikv(0)"], "partition": true, "duration": "1m"}`)
	w.run()
	w.want(cut, v1alpha1.Running, decide.ReasonApplied, "")
	second := w.fault("second", `{"from": ["tikv(1)"], "partition": true, "duration": "1m"}`)
	w.decide()
	w.want(second, v1alpha1.Refused, string(v1alpha1.QuorumLoss), "basic-tikv-1")
	w.want(cut, v1alpha1.Running, decide.ReasonApplied, "")
	// Another store fails by itself.
	down := w.Cluster.Status.TiKV.Stores["3"]
	down.State = tcv1alpha1.TiKVStateDown
	w.Cluster.Status.TiKV.Stores["3"] = down
	w.decide()
	w.want(cut, v1alpha1.Ended, string(v1alpha1.QuorumLoss), "basic-tikv-2")
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
	w.want(f, v1alpha1.Running, decide.ReasonNotApplied, name+" has no address yet")
	w.pod(name).Addrs = []netip.Addr{netip.MustParseAddr("10.0.9.9")}
	w.run()
	w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
}

func TestOrderMeansNothing(t *testing.T) {
	w := newWorld(t)
	w.fault("a", slowLeader)
	w.fault("b", `{"from": ["tikv"], "rate": {"perSecond": "10mbit"}, "duration": "1h"}`)
	w.fault("c", `{"from": ["tikv"], "rate": {"perSecond": "20mbit"}, "duration": "1h"}`)
	before := decide.Decide(w.Input)
	slices.Reverse(w.Pods)
	slices.Reverse(w.Faults)
	if diff := cmp.Diff(before, decide.Decide(w.Input), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
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

// TestWhatRunsGoesOn resumes a fault that can't be combined with one that runs by then.
func TestWhatRunsGoesOn(t *testing.T) {
	w := newWorld(t)
	first := w.fault("first", `{"from": ["tikv"], "rate": {"perSecond": "10mbit"}, "duration": "10m"}`)
	w.run()
	first.Spec.Paused, first.Generation = true, 2
	w.run()
	w.Now = w.Now.Add(time.Second)
	second := w.fault("second", `{"from": ["tikv"], "rate": {"perSecond": "20mbit"}, "duration": "10m"}`)
	w.run()
	first.Spec.Paused, first.Generation = false, 3
	w.run()
	w.want(second, v1alpha1.Running, decide.ReasonApplied, "")
	w.want(first, v1alpha1.Refused, decide.ReasonConflict, "second")
}

// TestAnotherClusterOfTheName ends a fault with its TidbCluster, also if there is a new
// one of the name.
func TestAnotherClusterOfTheName(t *testing.T) {
	w := newWorld(t)
	w.Cluster.UID = "first"
	f := w.fault("slow", slowLeader)
	w.run()
	w.Cluster.UID = "second"
	if d := w.decide(); len(faulted(d)) > 0 {
		t.Errorf("faults at %v of the new one", faulted(d))
	}
	w.want(f, v1alpha1.Ended, decide.ReasonClusterNotFound, "is gone")
}
