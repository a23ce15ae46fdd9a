//go:build e2e

package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	pingcapv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
)

// TiDB Operator asks PD at each of its syncs, which hack/cluster/operator.yaml has every
// few seconds.
func TestRolesReachTheStatus(t *testing.T) {
	ctx := onFaulted(t)
	for _, leader := range []string{"pd-2", "pd-1"} {
		for _, busiest := range []string{"tikv-0", "tikv-2"} {
			start := time.Now()
			theFaulted.setRoles(ctx, t, leader, busiest)
			t.Logf("the leader %s, busiest %s: in the status after %s", leader, busiest, time.Since(start).Round(time.Second/10))
		}
	}
}

// TiDB Operator restarts PD from the last pod to the first, and has one that leads hand over
// its leadership before. The injected agents are not in its way.
func TestRestartOfPD(t *testing.T) {
	ctx := onFaulted(t, needs(theController), needs(theInjector))
	theFaulted.setRoles(ctx, t, "pd-0", "tikv-2")
	for _, pod := range theFaulted.restart(ctx, t, faulted, "pd", int(sizes[faulted].pd)) {
		if agents(pod) != 1 {
			t.Errorf("the new pod %s has %d agents, want 1", pod.Name, agents(pod))
		}
	}
	if err := theFaulted.givePingers(ctx, faulted); err != nil {
		t.Fatal(err)
	}
	status, err := theFaulted.status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s leads", status.PD.Leader.Name)
	if status.PD.Leader.Name == ofFaulted("pd-0") {
		t.Error("the leadership was not transferred")
	}
}

// setRoles makes a member lead PD, and a TiKV lead most regions, and waits until the
// TidbCluster's status says so. Real PDs are asked to transfer their leadership; which of
// their TiKVs leads most is theirs to decide.
func (w *world) setRoles(ctx context.Context, t *testing.T, leader, busiest string) {
	t.Helper()
	counts := map[string]int{ofFaulted("tikv-0"): 2, ofFaulted("tikv-1"): 1, ofFaulted("tikv-2"): 3}
	counts[ofFaulted(busiest)] = 9
	body, err := json.Marshal(map[string]any{"leader": ofFaulted(leader), "leaders": counts})
	if err != nil {
		t.Fatal(err)
	}
	standins := 0
	for _, member := range members(faulted) {
		if !strings.HasPrefix(member, "pd-") {
			continue
		}
		switch status := w.askPD(ctx, t, member, http.MethodPut, "/standin/roles", string(body)); status {
		case http.StatusOK:
			standins++
		case http.StatusNotFound: // a real PD
		default:
			t.Fatalf("set roles at %s: status %d", member, status)
		}
	}
	if standins == 0 {
		if status := w.askPD(ctx, t, leader, http.MethodPost, "/pd/api/v1/leader/transfer/"+ofFaulted(leader), ""); status != http.StatusOK {
			t.Fatalf("transfer PD's leadership to %s: status %d", leader, status)
		}
	}
	err = w.poll(ctx, func(ctx context.Context) error {
		status, err := w.status(ctx)
		if err != nil {
			return err
		}
		counted := map[string]int{}
		for _, store := range status.TiKV.Stores {
			counted[store.PodName] = int(store.LeaderCount)
		}
		if !status.PD.Synced || status.PD.Leader.Name != ofFaulted(leader) || standins > 0 && !maps.Equal(counted, counts) {
			return fmt.Errorf("the status has the leader %s and the leaders %v, synced %t", status.PD.Leader.Name, counted, status.PD.Synced)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// askPD sends a request to a PD and returns the status of the answer.
func (w *world) askPD(ctx context.Context, t *testing.T, member, method, path, body string) int {
	t.Helper()
	var answer struct {
		Status int `json:"status"`
	}
	url := "http://" + w.member(ctx, t, member).Status.PodIP + ":2379" + path
	if err := w.runPinger(ctx, pinger, &answer, "http", method, url, body); err != nil {
		t.Fatal(err)
	}
	return answer.Status
}

// status is that of the TidbCluster faulted.
func (w *world) status(ctx context.Context) (pingcapv1alpha1.TidbClusterStatus, error) {
	var tc pingcapv1alpha1.TidbCluster
	err := w.Get(ctx, faulted, w.namespace, &tc)
	return tc.Status, err
}

// busiest is the TiKV that leads most regions by the status.
func (w *world) busiest(ctx context.Context, t *testing.T) string {
	t.Helper()
	status, err := w.status(ctx)
	if err != nil || len(status.TiKV.Stores) == 0 {
		t.Fatalf("stores %v, %v", status.TiKV.Stores, err)
	}
	store := slices.MinFunc(slices.Collect(maps.Values(status.TiKV.Stores)), func(a, b pingcapv1alpha1.TiKVStore) int {
		return cmp.Or(cmp.Compare(b.LeaderCount, a.LeaderCount), cmp.Compare(a.PodName, b.PodName))
	})
	return strings.TrimPrefix(store.PodName, faulted+"-")
}
