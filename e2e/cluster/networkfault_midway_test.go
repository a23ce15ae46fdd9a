//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// allToAll is a fault of which every agent gets a part.
const allToAll = `from: [all], to: [all], rtt: 50ms, untilDeleted: true`

func everyPair(rtt time.Duration) wish { return between(members(faulted), members(faulted), rtt) }

// An agent that is killed while a set is on its way to all of them ends up with what the
// others have, beside what it held before, as if nothing had happened.
func TestNetworkFaultAgentKilledMidway(t *testing.T) {
	ctx := onFaulted(t)
	theFaulted.runSlow(ctx, t, "before")
	theFaulted.run(ctx, t, "midway", allToAll)
	want := theFaulted.wantHeld(ctx, t, "when nothing happens", nil)
	theFaulted.remove(ctx, t, "midway")
	theFaulted.wantMatrix(ctx, t, "without it", slowTiKV(added))

	pod := theFaulted.member(ctx, t, "tikv-0")
	signals := theFaulted.signaller(ctx, t, pod)
	before := containerStatus(t, pod, agentName)
	theFaulted.stopMidway(ctx, t, signals)
	signals.send(ctx, t, "KILL", pod, agentName)
	theFaulted.waitForRestart(ctx, t, "tikv-0", before)
	theFaulted.wantPhase(ctx, t, "midway", v1alpha1.Running, "Applied")
	theFaulted.wantMatrix(ctx, t, "started again", sum(slowTiKV(added), everyPair(added)))
	theFaulted.wantHeld(ctx, t, "started again", want)
	theFaulted.remove(ctx, t, "midway")
	theFaulted.wantMatrix(ctx, t, "deleted", slowTiKV(added))
}

// A controller that is killed while a set is on its way to all agents, which nobody is to
// have any more when another one leads: an agent that was not reached, and one that answers
// the dead controller only then, end up with what the objects say, and nothing else.
func TestNetworkFaultControllerKilledMidway(t *testing.T) {
	ctx := onFaulted(t, changes(theController))
	const kept = `from: ["tidb(0)"], to: ["pd"], untilDeleted: true, rtt: `
	keeps := func(rtt time.Duration) wish {
		return between([]string{"tidb-0"}, []string{"pd-0", "pd-1", "pd-2"}, rtt)
	}
	theFaulted.run(ctx, t, "kept", kept+"80ms")
	want := theFaulted.wantHeld(ctx, t, "when nothing happens", nil)
	theFaulted.run(ctx, t, "kept", kept+"50ms")
	theFaulted.wantMatrix(ctx, t, "before", keeps(added))

	controllers, frozen := theFaulted.controllers(ctx, t), theFaulted.member(ctx, t, "tikv-0")
	signals := theFaulted.signaller(ctx, t, append(controllers, frozen)...)
	theFaulted.stopMidway(ctx, t, signals)
	for _, pod := range controllers {
		signals.send(ctx, t, "KILL", pod, "controller")
	}
	killed := time.Now()
	theFaulted.remove(ctx, t, "midway")
	theFaulted.apply(ctx, t, "kept", kept+"80ms")
	signals.send(ctx, t, "CONT", frozen, agentName)
	// kubelet starts it, and the old leader's lease of the API runs out. What the dead one
	// had asked for may even arrive after the new one's: it is put right at a renewal.
	const leaderAgain = 2 * time.Minute
	theFaulted.wantMatrixWithin(ctx, t, leaderAgain, "a new controller leads", keeps(80*time.Millisecond))
	t.Logf("as it should be %s after the controllers were killed", time.Since(killed).Round(time.Second))
	theFaulted.wantPhase(ctx, t, "kept", v1alpha1.Running, "Applied")
	theFaulted.wantHeld(ctx, t, "a new controller leads", want)
}

// stopMidway freezes the agent of tikv-0, applies the fault midway to all agents, and returns
// when all others have their part.
func (w *world) stopMidway(ctx context.Context, t *testing.T, signals signaller) {
	t.Helper()
	frozen := w.member(ctx, t, "tikv-0")
	signals.send(ctx, t, "STOP", frozen, agentName)
	t.Cleanup(func() { // where the test has failed before it did that
		if t.Failed() {
			signals.send(context.Background(), t, "CONT", w.member(context.Background(), t, "tikv-0"), agentName)
		}
	})
	w.apply(ctx, t, "midway", allToAll)
	others := slices.DeleteFunc(members(faulted), func(m string) bool { return m == "tikv-0" })
	err := w.poll(ctx, func(ctx context.Context) error {
		held, err := w.held(ctx, faulted, others)
		if err != nil {
			return err
		}
		for _, member := range others {
			if !slices.ContainsFunc(held[member], func(f api.Fault) bool { return strings.HasPrefix(f.Name, "midway.") }) {
				return fmt.Errorf("%s holds %+v, nothing of fault midway", member, held[member])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var f v1alpha1.NetworkFault
	if err := w.Get(ctx, "midway", w.namespace, &f); err != nil || f.Status.Reason == "Applied" {
		t.Fatalf("fault midway is not on its way any more: %v, status %+v", err, f.Status)
	}
}
