//go:build kernel

package etcd

import (
	"context"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
)

// An agent is killed under load. With nfqueue traffic passes at once and the fault
// comes back with the next agent, with netem the kernel keeps it. No write fails.
func TestAKilledAgentBreaksNothing(t *testing.T) {
	c, w := begin(t)
	leader, followers := c.leader(t)
	followers[0].host.Echo(t, followers[0].host.IP)
	roundTrip := func() time.Duration {
		return netlab.Median(leader.host.RoundTrips(t, followers[0].host.IP, 21))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	load := w.load(ctx, leader, followers[0])
	leader.agent.set(t, slow(delay, followers...))
	w.wantMore(t, 5)
	want, err := leader.agent.client.Faults(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	leader.agent.kill()
	w.wantMore(t, 5)
	netlab.Retry(t, "a round trip while the agent is dead", func() error {
		if engineName == "netem" {
			return wantRatio("while the agent is dead", roundTrip(), 2*delay, 1, 1.5)
		}
		return wantRatio("while the agent is dead", roundTrip(), 2*delay, 0, 0.5)
	})

	if err := leader.agent.start(); err != nil {
		t.Fatal(err)
	}
	leader.agent.wantHeld(t, 1)
	got, err := leader.agent.client.Faults(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.ETag != want.ETag {
		t.Errorf("the next agent has faults %+v, the killed one had %+v", got.Body.Faults, want.Body.Faults)
	}
	netlab.Retry(t, "a round trip after the restart", func() error {
		return wantRatio("after the restart", roundTrip(), 2*delay, 1, 1.5)
	})
	w.wantMore(t, 5)
	cancel()
	load.Wait()
	if err := w.failure(); err != nil {
		t.Error(err)
	}
}
