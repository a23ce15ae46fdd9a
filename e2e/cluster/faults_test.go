//go:build e2e

package cluster

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// A set of faults for one peer meets that peer and nobody else, and what it
// cuts off still reaches the control port.
func TestFaultsForOnePeer(t *testing.T) {
	theClaims.sideBySide(t, changes(annotated), changes(theMachine))
	testEnv.Test(t, features.New("faults for one peer").
		Assess("meet that peer only", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			pod := theWorld.pod(ctx, t, annotated, "tikv")
			var peer corev1.Pod
			if err := theWorld.Get(ctx, pinger, namespace, &peer); err != nil {
				t.Fatal(err)
			}
			agent := theWorld.agent(ctx, t, pod)
			set := func(faults ...api.Fault) {
				t.Helper()
				made, err := agent.ReplaceFaults(ctx, faults)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("changes: %+v", made.Body.Changes)
			}
			defer set()
			one := api.Fault{Name: "one-peer", Peers: []string{peer.Status.PodIP}, Direction: "both", Delay: "20ms", Duration: "10m"}
			set(one)
			theWorld.wantRTT(ctx, t, "both ways", pinger, pod, 40*time.Millisecond)
			theWorld.wantRTT(ctx, t, "a bystander", nodePinger, pod, 0)

			one.Delay, one.Partition = "", true
			set(one)
			if answered := theWorld.ping(ctx, t, pinger, pod); len(answered) > 0 {
				t.Errorf("%d pings pass a partition", len(answered))
			}
			theWorld.wantRTT(ctx, t, "a bystander of the partition", nodePinger, pod, 0)
			status, err := agent.Status(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(status.Faults) != 1 || !status.Faults[0].Held || len(status.Warnings) > 0 {
				t.Errorf("status %+v", status)
			}

			set()
			theWorld.wantRTT(ctx, t, "cleared", pinger, pod, 0)
			return ctx
		}).Feature())
}
