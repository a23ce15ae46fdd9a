//go:build e2e

package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// held returns what the agents of members of a TidbCluster hold, by the names of the members.
func (w *world) held(ctx context.Context, cluster string, of []string) (map[string][]api.Fault, error) {
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
		member := strings.TrimPrefix(pod.Name, cluster+"-")
		if !slices.Contains(of, member) {
			continue
		}
		asking.Go(func() {
			var status api.Status
			agent, err := w.agentOf(pod)
			if err == nil {
				status, err = agent.Status(ctx)
			}
			mu.Lock()
			defer mu.Unlock()
			problems = errors.Join(problems, err)
			for _, f := range status.Faults {
				all[member] = append(all[member], f.Fault)
			}
		})
	}
	asking.Wait()
	return all, problems
}

// wantHeld waits until the agents of the TidbCluster faulted hold what is wanted, nil for
// anything, and returns that. When it ends is not compared.
func (w *world) wantHeld(ctx context.Context, t *testing.T, what string, want map[string][]api.Fault) map[string][]api.Fault {
	t.Helper()
	var got map[string][]api.Fault
	err := w.poll(ctx, func(ctx context.Context) (err error) {
		if got, err = w.held(ctx, faulted, members(faulted)); err != nil {
			return err
		}
		for _, faults := range got {
			for i := range faults {
				faults[i].ExpiresAt = ""
			}
			slices.SortFunc(faults, func(a, b api.Fault) int { return cmp.Compare(a.Name, b.Name) })
		}
		if diff := gocmp.Diff(want, got); want != nil && diff != "" {
			return fmt.Errorf("the agents hold (-want +got):\n%s", diff)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return got
}

// wantNoFaults waits until no agent of a TidbCluster holds a fault.
func (w *world) wantNoFaults(ctx context.Context, t *testing.T, cluster string) {
	t.Helper()
	err := w.poll(ctx, func(ctx context.Context) error {
		held, err := w.held(ctx, cluster, members(cluster))
		for member, faults := range held {
			err = errors.Join(err, fmt.Errorf("the agent of %s holds %+v", member, faults))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
