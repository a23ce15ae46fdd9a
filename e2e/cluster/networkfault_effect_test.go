//go:build e2e

package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/inplace"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// Two faults add up, and either can go alone.
func TestNetworkFaultsAddUp(t *testing.T) {
	ctx := onFaulted(t)
	for _, first := range []string{"one", "two"} {
		theFaulted.runSlow(ctx, t, "one")
		theFaulted.run(ctx, t, "two", `from: [tikv], to: [pd], rtt: 50ms, duration: 10m`)
		one := slowTiKV(added)
		two := between([]string{"tikv-0", "tikv-1", "tikv-2"}, []string{"pd-0", "pd-1", "pd-2"}, added)
		theFaulted.wantMatrix(ctx, t, "both", sum(one, two))
		theFaulted.remove(ctx, t, first)
		left, other := two, "two"
		if first == "two" {
			left, other = one, "one"
		}
		theFaulted.wantMatrix(ctx, t, "without fault "+first, left)
		theFaulted.remove(ctx, t, other)
	}
}

// A change takes effect in place: none of the pings that pass meanwhile is lost, and none
// passes without the fault.
func TestNetworkFaultChangeInPlace(t *testing.T) {
	ctx := onFaulted(t, needs(theController), changes(theMachine)) // the stream shows each late packet
	theFaulted.runSlow(ctx, t, "changed")
	stream := theFaulted.stream(ctx, t, "tikv-0", "pd-0", 10*time.Second)
	theFaulted.patch(ctx, t, "changed", `{"spec":{"rtt":"80ms"}}`)
	theFaulted.wantPhase(ctx, t, "changed", v1alpha1.Running, "Applied")
	theFaulted.wantMatrix(ctx, t, "after the change", slowTiKV(80*time.Millisecond))
	wantInPlace(t, stream(), added, 80*time.Millisecond)
}

// wantInPlace checks what a stream of pings met whose RTT was changed to a longer one
// meanwhile: none was lost, none passed in less time than before, and none went back.
func wantInPlace(t *testing.T, got measured, before, after time.Duration) {
	t.Helper()
	if problem := inplace.Problem(got.Sent, got.RTTs, before, after); problem != "" {
		t.Errorf("a stream whose RTT was changed from %s to %s: %s", before, after, problem)
	}
}

// stream pings from one member to another in the background, for some time. It returns when the
// first have arrived, and the returned function waits for the end.
func (w *world) stream(ctx context.Context, t *testing.T, from, to string, lasts time.Duration) (end func() measured) {
	t.Helper()
	source, target := w.member(ctx, t, from), w.member(ctx, t, to).Status.PodIP
	type outcome struct {
		measured
		err error
	}
	ended := make(chan outcome, 1)
	before := w.echoes(ctx, t, to)
	go func() {
		got, err := w.measureEvery(ctx, inplace.Spacing, source.Name, 2*time.Second, int(lasts/inplace.Spacing), target)
		ended <- outcome{got[target], err}
	}()
	for start := time.Now(); w.echoes(ctx, t, to) < before+inplace.Part; {
		if time.Since(start) > settles {
			t.Fatalf("no ping from %s arrives at %s", from, to)
		}
	}
	return func() measured {
		t.Helper()
		got := <-ended
		if got.err != nil || len(got.RTTs) == 0 {
			t.Fatalf("pings from %s to %s: %v, %d of %d answered", from, to, got.err, len(got.RTTs), got.Sent)
		}
		return got.measured
	}
}

// One way is from the side from to the side to: ping shows the delay once, and a partition
// lets the echo requests of the side to through, and not its answers.
func TestNetworkFaultOneWay(t *testing.T) {
	ctx := onFaulted(t)
	theFaulted.run(ctx, t, "both-ways", `from: ["tikv(0)"], to: ["pd(0)"], delay: 50ms, duration: 10m`)
	pairs := func(rtt time.Duration) wish { return between([]string{"tikv-0"}, []string{"pd-0"}, rtt) }
	theFaulted.wantMatrix(ctx, t, "a delay each way", pairs(2*added))
	theFaulted.remove(ctx, t, "both-ways")
	theFaulted.run(ctx, t, "one-way", `from: ["tikv(0)"], to: ["pd(0)"], delay: 50ms, oneWay: true, duration: 10m`)
	theFaulted.wantMatrix(ctx, t, "a delay one way", pairs(added))
	theFaulted.remove(ctx, t, "one-way")

	theFaulted.run(ctx, t, "cut", `from: ["tikv(0)"], to: ["pd(0)"], partition: true, oneWay: true, duration: 10m`)
	theFaulted.wantMatrix(ctx, t, "a partition one way", pairs(cut))
	theFaulted.wantEchoes(ctx, t, "pd-0", "tikv-0", 10)
	theFaulted.wantEchoes(ctx, t, "tikv-0", "pd-0", 0)
}

// wantEchoes pings one member from another, ten times and without an answer, and checks how
// many of the echo requests arrive.
func (w *world) wantEchoes(ctx context.Context, t *testing.T, from, to string, want int) {
	t.Helper()
	const count = 10
	before := w.echoes(ctx, t, to)
	target := w.member(ctx, t, to).Status.PodIP
	got, err := w.measure(ctx, ofFaulted(from), time.Second, count, target)
	if err != nil || len(got[target].RTTs) > 0 {
		t.Fatalf("pings from %s to %s: %v, %d answered, want none", from, to, err, len(got[target].RTTs))
	}
	if arrived := w.echoes(ctx, t, to) - before; arrived != want {
		t.Errorf("%d of %d pings from %s arrived at %s, want %d", arrived, count, from, to, want)
	}
}

// echoes returns how many echo requests have come to a member.
func (w *world) echoes(ctx context.Context, t *testing.T, member string) int {
	t.Helper()
	var counted struct {
		Received int `json:"received"`
	}
	if err := w.runPinger(ctx, ofFaulted(member), &counted, "echoes"); err != nil {
		t.Fatal(err)
	}
	return counted.Received
}

// A fault for a port meets the connections to that port of the side to, and nothing else.
func TestNetworkFaultPorts(t *testing.T) {
	ctx := onFaulted(t)
	pd, tikv := theFaulted.member(ctx, t, "pd-0").Status.PodIP, theFaulted.member(ctx, t, "tikv-0").Status.PodIP
	theFaulted.run(ctx, t, "client-port", `from: [tikv], to: [pd], rtt: 50ms, ports: [2379], protocol: tcp, duration: 10m`)
	for _, test := range []struct {
		from, target string
		want         time.Duration
	}{
		{"tikv-0", pd + ":2379", added},
		{"tikv-0", pd + ":2380", 0},
		{"tidb-0", pd + ":2379", 0},
		{"pd-0", tikv + ":20160", 0},
	} {
		theFaulted.wantLeast(ctx, t, ofFaulted(test.from), test.target, test.want)
	}
	theFaulted.wantFlat(ctx, t, "ping")
}

// A partition cuts off what it names. What would cost PD its quorum is refused until the
// fault allows it.
func TestNetworkFaultPartition(t *testing.T) {
	ctx := onFaulted(t)
	theFaulted.run(ctx, t, "tidb-cut", `from: ["tidb(0)"], partition: true, duration: 2m`)
	theFaulted.wantMatrix(ctx, t, "one TiDB cut off", between([]string{"tidb-0"}, nil, cut))
	for target, port := range map[string]string{"tidb-1": ":4000", "pd-0": ":2379"} {
		target = theFaulted.member(ctx, t, target).Status.PodIP + port
		theFaulted.wantLeast(ctx, t, ofFaulted("tidb-0"), target, cut)
		theFaulted.wantLeast(ctx, t, ofFaulted("tikv-0"), target, 0)
	}
	theFaulted.remove(ctx, t, "tidb-cut")

	pds := []string{"pd-0", "pd-1", "pd-2"}
	theFaulted.apply(ctx, t, "pd-cut", `from: [pd], to: [pd], partition: true, duration: 2m`)
	refused := theFaulted.wantPhase(ctx, t, "pd-cut", v1alpha1.Refused, string(v1alpha1.QuorumLoss))
	t.Logf("refused: %s", refused.Message)
	theFaulted.wantFlat(ctx, t, "refused")
	theFaulted.patch(ctx, t, "pd-cut", `{"spec":{"allow":["QuorumLoss"]}}`)
	theFaulted.wantPhase(ctx, t, "pd-cut", v1alpha1.Running, "Applied")
	theFaulted.wantMatrix(ctx, t, "allowed", between(pds, pds, cut))
}
