//go:build e2e

package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
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

// wantNoFaults waits until no agent of a TidbCluster holds a fault.
func (w *world) wantNoFaults(ctx context.Context, t *testing.T, cluster string) {
	t.Helper()
	err := w.poll(ctx, func(ctx context.Context) error {
		held, err := w.held(ctx, t, cluster)
		for member, faults := range held {
			if len(faults) > 0 {
				err = errors.Join(err, fmt.Errorf("the agent of %s holds %+v", member, faults))
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// held returns what the agents of a TidbCluster hold, by the names of the members, without
// when it ends.
func (w *world) held(ctx context.Context, t *testing.T, cluster string) (map[string][]api.Fault, error) {
	t.Helper()
	pods, err := w.membersOf(ctx, cluster)
	if err != nil {
		return nil, err
	}
	var (
		asking   sync.WaitGroup
		mu       sync.Mutex
		all      = map[string][]api.Fault{}
		problems error
	)
	for _, pod := range pods {
		agent := w.agent(ctx, t, pod)
		asking.Go(func() {
			status, err := agent.Status(ctx)
			mu.Lock()
			defer mu.Unlock()
			problems = errors.Join(problems, err)
			for _, f := range status.Faults {
				f.ExpiresAt = ""
				member := strings.TrimPrefix(pod.Name, cluster+"-")
				all[member] = append(all[member], f.Fault)
			}
		})
	}
	asking.Wait()
	return all, problems
}
