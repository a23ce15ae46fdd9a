//go:build e2e

package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// What the tests of NetworkFaults measure with sees what it should, in the pairs that it
// should, with faults that are set at one agent by hand.
func TestMeasuring(t *testing.T) {
	ctx := onFaulted(t, needs(theInjector))
	pd := theFaulted.member(ctx, t, "pd-0").Status.PodIP
	byHand := func(f api.Fault) {
		t.Helper()
		f.Name, f.Peers, f.Duration = "by-hand", []string{pd}, "5m"
		if _, err := theFaulted.agent(ctx, t, theFaulted.member(ctx, t, "tikv-0")).SetFault(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
	pairs := func(rtt time.Duration) wish { return between([]string{"tikv-0"}, []string{"pd-0"}, rtt) }
	t.Cleanup(func() { theFaulted.clearByHand(context.Background(), t, "tikv-0") })

	byHand(api.Fault{Direction: "both", Delay: "25ms"})
	theFaulted.wantMatrix(ctx, t, "25ms each way", pairs(added))
	theFaulted.wantLeast(ctx, t, ofFaulted("tikv-0"), pd+":2379", added)
	stream := theFaulted.stream(ctx, t, "tikv-0", "pd-0", 3*time.Second)
	byHand(api.Fault{Direction: "both", Delay: "40ms"})
	theFaulted.wantMatrix(ctx, t, "40ms each way", pairs(80*time.Millisecond))
	if got := stream(); len(got.RTTs) != got.Sent {
		t.Errorf("%d of %d pings were lost by a change in place", got.Sent-len(got.RTTs), got.Sent)
	}

	byHand(api.Fault{Direction: "both", Delay: "25ms", Ports: &api.Ports{Remote: []api.PortRange{{First: 2379, Last: 2379}}}})
	theFaulted.wantLeast(ctx, t, ofFaulted("tikv-0"), pd+":2380", 0)
	theFaulted.wantLeast(ctx, t, ofFaulted("tikv-0"), pd+":2379", added)
	theFaulted.wantFlat(ctx, t, "ping, with a fault for a port")

	stream = theFaulted.stream(ctx, t, "tikv-0", "pd-0", 5*time.Second)
	byHand(api.Fault{Direction: "both", Partition: true})
	theFaulted.wantMatrix(ctx, t, "a partition", pairs(cut))
	theFaulted.wantLeast(ctx, t, ofFaulted("tikv-0"), pd+":2379", cut)
	theFaulted.clearByHand(ctx, t, "tikv-0")
	theFaulted.wantFlat(ctx, t, "cleared")
	if got := stream(); len(got.RTTs) == got.Sent {
		t.Error("no ping was lost by a partition")
	}

	byHand(api.Fault{Direction: "egress", Partition: true})
	theFaulted.wantMatrix(ctx, t, "a partition one way", pairs(cut))
	theFaulted.wantEchoes(ctx, t, "pd-0", "tikv-0", 10)
	theFaulted.wantEchoes(ctx, t, "tikv-0", "pd-0", 0)
}

// clearByHand ends all faults of a member.
func (w *world) clearByHand(ctx context.Context, t *testing.T, member string) {
	t.Helper()
	if _, err := w.agent(ctx, t, w.member(ctx, t, member)).DeleteFaults(ctx); err != nil {
		t.Error(err)
	}
}
