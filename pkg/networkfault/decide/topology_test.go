package decide_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// topology adds a topology. Its spec is JSON without its cluster.
func (w *world) topology(name, spec string) *v1alpha1.NetworkTopology {
	w.t.Helper()
	t := &v1alpha1.NetworkTopology{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1, CreationTimestamp: metav1.Unix(int64(len(w.Topologies)), 0)}}
	if err := json.Unmarshal([]byte(spec), &t.Spec); err != nil {
		w.t.Fatal(err)
	}
	t.Spec.Cluster = "basic"
	w.Topologies = append(w.Topologies, t)
	return t
}

// writeTopologies writes their statuses, as the API server keeps them.
func (w *world) writeTopologies(d decide.Decision) {
	w.t.Helper()
	for _, t := range w.Topologies {
		status, ok := d.Topologies[t.Name]
		if !ok {
			continue
		}
		kept, err := json.Marshal(status)
		if err != nil {
			w.t.Fatal(err)
		}
		t.Status = v1alpha1.NetworkTopologyStatus{}
		if err := json.Unmarshal(kept, &t.Status); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) wantTopology(t *v1alpha1.NetworkTopology, phase v1alpha1.Phase, reason, words string) {
	w.t.Helper()
	s := t.Status
	if s.Phase != phase || s.Reason != reason || !strings.Contains(s.Message, words) {
		w.t.Errorf("%s is %s, %s: %q; want %s, %s: %q", t.Name, s.Phase, s.Reason, s.Message, phase, reason, words)
	}
}

// label puts the nodes of pods into zones, by the last byte of the pods' names.
func (w *world) label(zones map[byte]string) {
	for i := range w.Pods {
		w.Pods[i].NodeLabels = nil
		if zone := zones[w.Pods[i].Name[len(w.Pods[i].Name)-1]]; zone != "" {
			w.Pods[i].NodeLabels = map[string]string{corev1.LabelTopologyZone: zone}
		}
	}
}

// added returns what is added to a round trip between two pods.
func (w *world) added(d decide.Decision, a, b string) time.Duration {
	plan := compile.Plan{Faults: map[string][]compile.Fault{}}
	var pods []compile.Pod
	for _, p := range w.Pods {
		pods = append(pods, compile.Pod{Name: p.Name, Addrs: p.Addrs, Agent: p.Agent})
		for _, f := range d.Faults[p.Name] {
			plan.Faults[p.Name] = append(plan.Faults[p.Name], f.Fault)
		}
	}
	return plan.Effects(pods)[compile.Pair{A: a, B: b}].RTT
}

const threeZones = `{"spread": 3, "links": [{"between": ["a", "b"], "rtt": "20ms"}, {"between": ["a", "c"], "rtt": "40ms"}, {"between": ["b", "c"], "rtt": "60ms"}], "duration": "1h"}`

func TestATopologyRuns(t *testing.T) {
	w := newWorld(t)
	ground := w.topology("ground", threeZones)
	d := w.decide()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplying, "")
	w.hold(d)
	d = w.decide()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	s := ground.Status
	if s.Applied != "8/8" || s.Zoned != "8/8" || len(s.Unzoned) > 0 || s.What != "20ms to 60ms RTT between 3 zones" || !d.Next.Equal(s.ExpiresAt.Time) {
		t.Errorf("status %+v, next at %s", s, d.Next)
	}
	want := []v1alpha1.ZonePods{
		{Name: "a", Pods: []string{"basic-pd-0", "basic-tidb-0", "basic-tikv-0"}},
		{Name: "b", Pods: []string{"basic-pd-1", "basic-tidb-1", "basic-tikv-1"}},
		{Name: "c", Pods: []string{"basic-pd-2", "basic-tikv-2"}},
	}
	if diff := cmp.Diff(want, s.Zones); diff != "" {
		t.Errorf("zones (-want +got):\n%s", diff)
	}
	for pair, want := range map[[2]string]time.Duration{
		{"basic-pd-0", "basic-pd-1"}: 20 * time.Millisecond, {"basic-pd-0", "basic-tikv-2"}: 40 * time.Millisecond, {"basic-tidb-1", "basic-tikv-2"}: 60 * time.Millisecond, {"basic-pd-0", "basic-tikv-0"}: 0,
	} {
		if got := w.added(d, pair[0], pair[1]); got != want {
			t.Errorf("%v: %s, want %s", pair, got, want)
		}
	}
	before := ground.Status.DeepCopy()
	w.Now = w.Now.Add(time.Minute)
	if w.decide(); !cmp.Equal(*before, ground.Status) {
		t.Errorf("a minute later:\n%s", cmp.Diff(*before, ground.Status))
	}
	w.Now = s.ExpiresAt.Time
	if d = w.decide(); len(faulted(d)) > 0 {
		t.Errorf("after its end: faults at %v", faulted(d))
	}
	w.wantTopology(ground, v1alpha1.Ended, decide.ReasonExpired, "")
}

// A fault adds to the topology, and leaves it when it is deleted.
func TestAFaultOnATopology(t *testing.T) {
	w := newWorld(t)
	ground := w.topology("ground", threeZones)
	w.fault("slow", `{"from": ["pd(0)"], "rtt": "50ms", "untilDeleted": true}`)
	d := w.run()
	if got := w.added(d, "basic-pd-0", "basic-pd-1"); got != 70*time.Millisecond {
		t.Errorf("%s, want 70ms", got)
	}
	w.Faults = nil
	d = w.run()
	if got := w.added(d, "basic-pd-0", "basic-pd-1"); got != 20*time.Millisecond {
		t.Errorf("%s without the fault, want 20ms", got)
	}
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
}

func TestWhatStopsATopology(t *testing.T) {
	for name, test := range map[string]struct {
		change         func(*world)
		fresh, running v1alpha1.Phase
		reason, words  string
	}{
		"no cluster":   {func(w *world) { w.Cluster = nil }, v1alpha1.Pending, v1alpha1.Ended, decide.ReasonClusterNotFound, "TidbCluster basic"},
		"protected":    {func(w *world) { w.Cluster.Annotations["tidelay.io/protect"] = "true" }, v1alpha1.Refused, v1alpha1.Ended, decide.ReasonProtected, "takes no topology"},
		"not injected": {func(w *world) { delete(w.Cluster.Annotations, "tidelay.io/inject") }, v1alpha1.Refused, v1alpha1.Ended, decide.ReasonNotInjected, ""},
		"paused":       {func(w *world) { w.Topologies[0].Spec.Paused = true; w.Topologies[0].Generation++ }, v1alpha1.Paused, v1alpha1.Paused, decide.ReasonPaused, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, started := range []bool{false, true} {
				w := newWorld(t)
				ground, want := w.topology("ground", threeZones), test.fresh
				if started {
					w.run()
					want = test.running
				}
				test.change(w)
				if d := w.decide(); len(faulted(d)) > 0 {
					t.Errorf("faults at %v", faulted(d))
				}
				w.wantTopology(ground, want, test.reason, test.words)
				if want == v1alpha1.Ended && test.reason == decide.ReasonProtected {
					w.wantTopology(ground, want, test.reason, "A topology that has ended can't be changed")
				}
			}
		})
	}
}

// A pod that can't have it keeps a topology from starting. One that runs goes on without it,
// says so, and takes it in when it can have it.
func TestAPodThatCannotHaveATopology(t *testing.T) {
	for name, test := range map[string]struct {
		harm, heal    func(*decide.Pod)
		reason, words string
	}{
		"no agent": {func(p *decide.Pod) { p.Agent = false }, func(p *decide.Pod) { p.Agent = true }, decide.ReasonNoAgent, "for the topology without them"},
		"its agent ended": {
			func(p *decide.Pod) { p.Agent, p.AgentEnded = false, true }, func(p *decide.Pod) { p.Agent, p.AgentEnded = true, false },
			decide.ReasonNoAgent, "basic-tikv-0 (its attached agent has ended): without an agent",
		},
		"the node's": {func(p *decide.Pod) { p.HostNetwork = true }, func(p *decide.Pod) { p.HostNetwork = false }, decide.ReasonHostNetwork, "basic-tikv-0"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ground, victim := w.topology("ground", threeZones), w.pod("basic-tikv-0")
			test.harm(victim)
			w.decide()
			w.wantTopology(ground, v1alpha1.Refused, test.reason, test.words)
			test.heal(victim)
			ground.Generation++
			w.run()
			test.harm(victim)
			for range 2 {
				d := w.run()
				w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "left out: basic-tikv-0")
				if got := w.added(d, "basic-pd-0", "basic-pd-1"); got != 20*time.Millisecond || ground.Status.Applied != "7/7" {
					t.Errorf("%s between the others, applied %s; want 20ms and 7/7", got, ground.Status.Applied)
				}
			}
			// A change meets that pod as what runs does.
			ground.Spec.Links[0].RTT, ground.Generation = "30ms", ground.Generation+1
			d := w.run()
			w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "left out: basic-tikv-0")
			if got := w.added(d, "basic-pd-0", "basic-pd-1"); got != 30*time.Millisecond {
				t.Errorf("%s after the change, want 30ms", got)
			}
			test.heal(victim)
			w.run()
			w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
			if s := ground.Status; s.Applied != "8/8" || s.Message != "" {
				t.Errorf("status %+v", s)
			}
		})
	}
}

func TestATopologyWithoutSomeAgents(t *testing.T) {
	w := newWorld(t)
	w.pod("basic-tikv-0").Agent = false
	ground := w.topology("ground", strings.Replace(threeZones, "{", `{"allow": ["Partial"], `, 1))
	d := w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "left out: basic-tikv-0")
	if got := w.added(d, "basic-pd-1", "basic-tikv-0"); got != 20*time.Millisecond || ground.Status.Applied != "7/7" {
		t.Errorf("%s by one agent, applied %s; want 20ms and 7/7", got, ground.Status.Applied)
	}
}

// What a topology does is changed in place: faults keep their names.
func TestATopologyIsChangedInPlace(t *testing.T) {
	w := newWorld(t)
	ground := w.topology("ground", threeZones)
	names := func(d decide.Decision) (all []string) {
		for _, f := range d.Faults["basic-pd-0"] {
			all = append(all, f.Name)
		}
		return all
	}
	before := names(w.run())
	ground.Spec.Links[0].RTT, ground.Generation = "50ms", ground.Generation+1
	d := w.run()
	if got := w.added(d, "basic-pd-0", "basic-pd-1"); got != 50*time.Millisecond || !slices.Equal(names(d), before) {
		t.Errorf("%s by %v, want 50ms by %v", got, names(d), before)
	}
	if ground.Status.What != "40ms to 60ms RTT between 3 zones" {
		t.Errorf("what is %q", ground.Status.What)
	}
}

// Discovery is meant only where a list names it.
func TestDiscoveryIsInNoZone(t *testing.T) {
	w := newWorld(t)
	w.Pods = append(w.Pods, decide.Pod{Name: "basic-discovery-5d-0", Component: tidbcluster.Discovery})
	ground := w.topology("ground", threeZones)
	w.run()
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	if ground.Status.Zoned != "8/8" || len(ground.Status.Unzoned) > 0 {
		t.Errorf("zoned %s, unzoned %v", ground.Status.Zoned, ground.Status.Unzoned)
	}
}
