//go:build e2e

package cluster

import (
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

func TestNetworkFaultPause(t *testing.T) {
	ctx := onFaulted(t)
	theFaulted.runSlow(ctx, t, "paused")
	theFaulted.patch(ctx, t, "paused", `{"spec":{"paused":true}}`)
	theFaulted.wantPhase(ctx, t, "paused", v1alpha1.Paused, "Paused")
	theFaulted.wantFlat(ctx, t, "paused")
	theFaulted.patch(ctx, t, "paused", `{"spec":{"paused":false}}`)
	theFaulted.wantPhase(ctx, t, "paused", v1alpha1.Running, "Applied")
	theFaulted.wantMatrix(ctx, t, "running again", slowTiKV(added))
}

// A fault ends by itself, no sooner than its duration says and not much later, and does not
// come back.
func TestNetworkFaultExpiry(t *testing.T) {
	ctx := onFaulted(t)
	const duration = 20 * time.Second // enough to measure it on a busy machine
	theFaulted.run(ctx, t, "short", `from: ["tikv(0)"], rtt: 50ms, duration: `+duration.String())
	running := time.Now()
	theFaulted.wantMatrix(ctx, t, "running", slowTiKV(added))
	status := theFaulted.wantPhase(ctx, t, "short", v1alpha1.Ended, "Expired")
	ended := time.Now()
	if length := status.ExpiresAt.Sub(status.StartedAt.Time); length != duration {
		t.Errorf("from %s to %s, want %s", status.StartedAt, status.ExpiresAt, duration)
	}
	// Times in the status are in whole seconds.
	late := ended.Sub(status.ExpiresAt.Time)
	if late < 0 {
		t.Errorf("the status said that it had ended %s before its time (running at %s)", -late, running)
	}
	t.Logf("the status said that it had ended %s after its time", late.Round(time.Millisecond))
	theFaulted.wantFlat(ctx, t, "ended")
	t.Logf("flat %s after its time", time.Since(status.ExpiresAt.Time).Round(time.Millisecond))
}

// A fault without an end is gone as soon as it is deleted. Meanwhile agents hold it for no
// longer than the lease.
func TestNetworkFaultDelete(t *testing.T) {
	ctx := onFaulted(t)
	theFaulted.run(ctx, t, "deleted", `from: [all], to: [all], rtt: 50ms, untilDeleted: true`)
	theFaulted.wantMatrix(ctx, t, "running", between(members(faulted), members(faulted), added))
	held, err := theFaulted.held(ctx, faulted, members(faulted))
	if err != nil {
		t.Fatal(err)
	}
	wantLeases(t, held, time.Now().Add(lease)) // read before: the controller may renew them at any time
	theFaulted.remove(ctx, t, "deleted")
	theFaulted.wantFlat(ctx, t, "deleted") // long before a lease ends
}
