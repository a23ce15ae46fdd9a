package verify_test

import (
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// What is not measured while other pairs are is said: which components and zones, or which pod.
func TestWhatIsNotMeasured(t *testing.T) {
	all := pods()
	for i := range all {
		all[i].Zone = string(rune('a' + i%2))
	}
	compiled(t, all, rtt("slow", "tikv-0", "pd-0", 50*time.Millisecond), rtt("fast", "pd-0", "tidb-0", 100*time.Microsecond))
	for name, want := range map[string]verify.Unseen{
		"slow": {},
		"fast": {Why: "a handshake shows delays of 1ms and more, and partitions", NoPair: true},
	} {
		if got := verify.New(all).Unseen[name]; got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	both := compile.Object{Name: "both", From: named("pd-0"), To: named("t"), RoundTrip: true, Impairment: fault.Impairment{Delay: 500 * time.Microsecond}}
	compiled(t, all, both, rtt("more", "pd-0", "tikv-0", 10*time.Millisecond))
	want := verify.Unseen{Why: "between pd in zone a and tidb in zone a: a handshake shows delays of 1ms and more, and partitions"}
	if got := verify.New(all).Unseen["both"]; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
