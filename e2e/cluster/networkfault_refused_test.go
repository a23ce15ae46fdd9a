//go:build e2e

package cluster

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// What an agent's kernel can't do is refused in the agent's own sentence, and nothing of it
// is left at any agent. Where the kernel can, it is in force.
func TestNetworkFaultRefusedByAgents(t *testing.T) {
	ctx := onFaulted(t)
	agent := theFaulted.agent(ctx, t, theFaulted.member(ctx, t, "tikv-0"))
	can, err := agent.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, feature := range []string{"duplicate", "corrupt"} {
		t.Run(feature, func(t *testing.T) {
			name := "with-" + feature
			theFaulted.apply(ctx, t, name, fmt.Sprintf(`from: ["tikv(0)"], rtt: 50ms, %s: {percent: 1}, duration: 2m`, feature))
			defer theFaulted.remove(ctx, t, name)
			why, lacks := can.Capabilities[can.Engine].Lacks[feature]
			if !lacks {
				theFaulted.wantPhase(ctx, t, name, v1alpha1.Running, "Applied")
				theFaulted.wantMatrix(ctx, t, feature, slowTiKV(added))
				return
			}
			status := theFaulted.wantPhase(ctx, t, name, v1alpha1.Refused, "AgentRefused")
			t.Logf("refused: %s", status.Message)
			if !strings.Contains(status.Message, why) {
				t.Errorf("the message %q does not have the agent's words: %q", status.Message, why)
			}
			theFaulted.wantFlat(ctx, t, "taken back")
			theFaulted.wantNoFaults(ctx, t, faulted)
		})
	}
}
