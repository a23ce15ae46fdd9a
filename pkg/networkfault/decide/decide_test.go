package decide_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

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
