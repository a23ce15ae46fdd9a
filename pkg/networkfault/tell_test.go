package networkfault

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
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
