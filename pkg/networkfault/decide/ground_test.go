package decide_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// underAFault returns a world in which a topology of 400ms runs, and on it a fault of 500ms
// that started later. The topology allows some rules.
func underAFault(t *testing.T, allow string) (w *world, ground *v1alpha1.NetworkTopology, slow *v1alpha1.NetworkFault) {
	t.Helper()
	w = newWorld(t)
	ground = w.topology("ground", fmt.Sprintf(`{"spread": 2, "links": [{"between": ["a", "b"], "rtt": "400ms"}], "allow": [%s], "untilDeleted": true}`, allow))
	w.run()
	w.Now = w.Now.Add(time.Minute)
	slow = w.fault("slow", `{"from": ["pd(0)"], "rtt": "500ms", "untilDeleted": true}`)
	w.run()
	w.Now = w.Now.Add(time.Minute)
	w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
	w.want(slow, v1alpha1.Running, decide.ReasonApplied, "")
	return w, ground, slow
}

// A change that can't be with a fault that runs is refused, and the fault goes on.
func TestAChangeOfTheGroundEndsNoFault(t *testing.T) {
	for name, test := range map[string]struct {
		change        func(*v1alpha1.Link)
		fault         string
		reason, words string
	}{
		"too long together": {func(l *v1alpha1.Link) { l.RTT = "600ms" }, "", "LongDelay", "Up to 1.1s would be added"},
		"two rates":         {func(l *v1alpha1.Link) { l.Rate = &v1alpha1.Rate{PerSecond: "1gbit"} }, `{"from": ["pd(0)"], "to": ["pd(1)"], "rate": {"perSecond": "10mbit"}, "untilDeleted": true}`, decide.ReasonConflict, "NetworkFault rated"},
	} {
		t.Run(name, func(t *testing.T) {
			w, ground, slow := underAFault(t, "")
			if test.fault != "" {
				w.fault("rated", test.fault)
				w.run()
			}
			test.change(&ground.Spec.Links[0])
			ground.Generation++
			for range 3 {
				w.run()
				w.wantTopology(ground, v1alpha1.Refused, test.reason, test.words)
				w.want(slow, v1alpha1.Running, decide.ReasonApplied, "")
			}
			for _, f := range w.Faults {
				w.want(f, v1alpha1.Running, decide.ReasonApplied, "")
			}
		})
	}
}

// A change that the topology allows itself is accepted, and does not end the fault later
// either, when the topology runs as it is.
func TestAnAllowedChangeOfTheGroundEndsNoFault(t *testing.T) {
	for name, change := range map[string]func(*world, *v1alpha1.NetworkTopology){
		"at once": func(*world, *v1alpha1.NetworkTopology) {},
		"after a pause": func(w *world, ground *v1alpha1.NetworkTopology) {
			ground.Spec.Paused, ground.Generation = true, ground.Generation+1
			w.run()
			ground.Spec.Paused = false
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, ground, slow := underAFault(t, `"LongDelay"`)
			change(w, ground)
			ground.Spec.Links[0].RTT, ground.Generation = "900ms", ground.Generation+1
			for range 3 {
				d := w.run()
				w.wantTopology(ground, v1alpha1.Running, decide.ReasonApplied, "")
				w.want(slow, v1alpha1.Running, decide.ReasonApplied, "")
				if got := w.added(d, "basic-pd-0", "basic-pd-1"); got != 1400*time.Millisecond {
					t.Errorf("%s, want 1.4s", got)
				}
				w.Now = w.Now.Add(time.Minute)
			}
		})
	}
}

// A change of the ground has it give way to faults, and no agent loses a packet by that:
// its faults keep their names.
func TestAChangeOfTheGroundKeepsNames(t *testing.T) {
	w, ground, _ := underAFault(t, "")
	w.fault("lossy", `{"from": ["tikv"], "to": ["pd"], "ports": [2379], "loss": {"percent": 1}, "untilDeleted": true}`)
	before := faultNames(w.run())
	ground.Spec.Links[0].RTT, ground.Generation = "450001us", ground.Generation+1
	for range 2 {
		d := w.decide()
		for pod, names := range faultNames(d) {
			if len(names) == 0 || !slices.Equal(names, before[pod]) {
				t.Errorf("faults of %s: %v, want %v", pod, names, before[pod])
			}
		}
		if got := w.added(d, "basic-pd-0", "basic-pd-1"); got != 950001*time.Microsecond {
			t.Errorf("%s, want 950.001ms", got)
		}
		w.hold(d)
	}
}

// faultNames returns the names of the faults of each pod.
func faultNames(d decide.Decision) map[string][]string {
	all := map[string][]string{}
	for pod, faults := range d.Faults {
		for _, f := range faults {
			all[pod] = append(all[pod], f.Name)
		}
	}
	return all
}

// Whatever is changed, paused or resumed, nothing else that runs is ended by that, then or
// later.
func TestAChangeEndsNothingElse(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t)
		rtt := rapid.SampledFrom([]string{"100ms", "400ms", "700ms", "1200ms"})
		allow := rapid.SampledFrom([]string{``, `"LongDelay"`})
		rate := rapid.SampledFrom([]*v1alpha1.Rate{nil, nil, {PerSecond: "1gbit"}})
		ground := w.topology("ground", fmt.Sprintf(`{"spread": 2, "links": [{"between": ["a", "b"], "rtt": %q}], "allow": [%s], "untilDeleted": true}`, rtt.Draw(r, "rtt"), allow.Draw(r, "allow")))
		for i, from := range []string{"pd(0)", "tikv(1)", "pd"} {
			w.fault(fmt.Sprintf("f%d", i), fmt.Sprintf(`{"from": [%q], "to": ["pd(1)", "tikv"], "rtt": %q, "allow": [%s], "untilDeleted": true}`, from, rtt.Draw(r, "rtt"), allow.Draw(r, "allow")))
		}
		running := func(changed int) map[string]bool {
			all := map[string]bool{}
			for i, f := range w.Faults {
				all[f.Name] = f.Status.Phase == v1alpha1.Running && i != changed
			}
			all["ground"] = ground.Status.Phase == v1alpha1.Running && changed != len(w.Faults)
			return all
		}
		w.run()
		for range 8 {
			changed := rapid.IntRange(0, len(w.Faults)).Draw(r, "changed")
			before, pauses := running(changed), rapid.Bool().Draw(r, "pauses")
			if changed == len(w.Faults) {
				spec := &ground.Spec
				spec.Links[0].RTT, spec.Links[0].Rate, spec.Paused = v1alpha1.RoundTrip(rtt.Draw(r, "rtt")), rate.Draw(r, "rate"), spec.Paused != pauses
				ground.Generation++
			} else {
				spec := &w.Faults[changed].Spec
				spec.RTT, spec.Rate, spec.Paused = v1alpha1.Delay(rtt.Draw(r, "rtt")), rate.Draw(r, "rate"), spec.Paused != pauses
				w.Faults[changed].Generation++
			}
			w.Now = w.Now.Add(time.Minute)
			w.run()
			after := running(-1)
			for name, was := range before {
				if was && !after[name] {
					r.Fatalf("%s does not run any more: ground %+v, faults %+v", name, ground.Status.Life, w.Faults)
				}
			}
		}
	})
}
