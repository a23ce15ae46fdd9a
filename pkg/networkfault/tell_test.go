package networkfault

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// A fault that does something else, or ends at another time, is told of, since the Event of
// its start says what it did then.
func TestAChangeIsTold(t *testing.T) {
	w := newWorld(t)
	w.fault("slow", `{"from": ["pd(leader)"], "rtt": "50ms", "duration": "1m"}`)
	w.reconcile()
	w.events.take()
	for _, step := range []struct {
		change func(*v1alpha1.NetworkFaultSpec)
		want   []string
	}{
		{func(s *v1alpha1.NetworkFaultSpec) { s.Duration = "2m" }, []string{"Changed +50ms RTT until 1970-01-12 13:48:40 UTC"}},
		{func(s *v1alpha1.NetworkFaultSpec) { s.Duration, s.UntilDeleted = "", true }, []string{"Changed +50ms RTT until it is deleted"}},
		{func(s *v1alpha1.NetworkFaultSpec) { s.RTT = "80ms" }, []string{"Changed +80ms RTT until it is deleted", "Applied +80ms RTT, in force at 8/8 pods"}},
		{func(s *v1alpha1.NetworkFaultSpec) { s.Allow = []v1alpha1.Allowance{v1alpha1.LongDelay} }, nil},
	} {
		change(w, "slow", &v1alpha1.NetworkFault{}, func(f *v1alpha1.NetworkFault) { step.change(&f.Spec); f.Generation++ })
		w.reconcile()
		var got []string
		for _, e := range w.events.take() {
			if text, is := strings.CutPrefix(e, "slow Normal "); is {
				got = append(got, text)
			}
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("Events %q, want %q", got, step.want)
		}
	}
}

// What is found to be wrong is told once, and again when it is wrong after it was right.
func TestAWrongMeasurementIsTold(t *testing.T) {
	w := newWorld(t)
	w.fault("slow", `{"from": ["pd(leader)"], "rtt": "50ms", "untilDeleted": true}`)
	w.reconcile()
	w.events.take()
	late := verify.Judgement{Outcome: verify.Late, Before: time.Millisecond, Measured: 90 * time.Millisecond}
	const note = " Warning %sOutOfTolerance %sbasic-pd-0 to basic-pd-1 (TCP port 2379): 89ms added, 50ms asked for"
	for i, step := range []struct {
		verdict verify.Verdict
		because verify.Judgement
		told    bool
	}{
		{verify.Right, fifty, false},
		{verify.Wrong, late, true},
		{verify.Wrong, late, false},
		{verify.Unknown, verify.Judgement{Outcome: verify.Noisy}, false},
		{verify.Wrong, late, true},
		{verify.Right, fifty, false},
		{verify.Wrong, late, true},
	} {
		w.pairs.become(step.verdict, step.because, w.pairs.tasks[0].From)
		w.reconcile()
		w.reconcile()
		var want []string
		if step.told {
			want = []string{"slow" + fmt.Sprintf(note, "", ""), "TidbCluster" + fmt.Sprintf(note, "Fault", "NetworkFault slow: ")}
		}
		if got := w.events.take(); !slices.Equal(got, want) {
			t.Errorf("step %d: Events %q, want %q", i, got, want)
		}
	}
}
