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

// TiDB Operator asks PD and TiCDC at each of its syncs, which hack/cluster/operator.yaml has
// every few seconds.
func TestRolesReachTheStatus(t *testing.T) {
	ctx := onFaulted(t, needs(theInjector))
	for _, now := range []roles{{"pd-2", "tikv-0", "ticdc-1"}, {"pd-1", "tikv-2", "ticdc-0"}} {
		start := time.Now()
		theFaulted.setRoles(ctx, t, now)
		t.Logf("%+v: in the status after %s", now, time.Since(start).Round(time.Second/10))
	}
}

// TiDB Operator restarts PD from the last pod to the first, and has one that leads hand over
// its leadership before. The injected agents are not in its way.
func TestRestartOfPD(t *testing.T) {
	ctx := onFaulted(t, needs(theInjector))
	theFaulted.setRoles(ctx, t, roles{"pd-0", "tikv-2", "ticdc-1"})
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

// roles are who leads PD, which TiKV leads most regions, and who owns TiCDC.
type roles struct{ leader, busiest, owner string }

// setRoles gives members their roles, and waits until the TidbCluster's status says so. Real
// PDs are asked to transfer their leadership; which of their TiKVs leads most, and which
// TiCDC owns, is theirs to decide.
func (w *world) setRoles(ctx context.Context, t *testing.T, want roles) {
	t.Helper()
	counts := map[string]int{ofFaulted("tikv-0"): 2, ofFaulted("tikv-1"): 1, ofFaulted("tikv-2"): 3}
	counts[ofFaulted(want.busiest)] = 9
	body, err := json.Marshal(map[string]any{"leader": ofFaulted(want.leader), "leaders": counts})
	if err != nil {
		t.Fatal(err)
	}
	standins := w.tellAll(ctx, t, "pd-", ":2379/standin/roles", string(body))
	if standins {
		w.tellAll(ctx, t, "ticdc-", ":8301/standin/owner/"+ofFaulted(want.owner), "")
	} else if status := w.ask(ctx, t, http.MethodPost, want.leader, ":2379/pd/api/v1/leader/transfer/"+ofFaulted(want.leader), ""); status != http.StatusOK {
		t.Fatalf("transfer PD's leadership to %s: status %d", want.leader, status)
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
		owner := ownerOf(status)
		asWanted := status.PD.Leader.Name == ofFaulted(want.leader) && (!standins || maps.Equal(counted, counts) && owner == want.owner)
		if !status.PD.Synced || !status.TiCDC.Synced || !asWanted {
			return fmt.Errorf("the status has the leader %s, the leaders %v and the owner %s, synced %t and %t",
				status.PD.Leader.Name, counted, owner, status.PD.Synced, status.TiCDC.Synced)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// tellAll puts something at all members whose names begin like that. It reports false if
// they are no stand-ins, which do not know the path.
func (w *world) tellAll(ctx context.Context, t *testing.T, prefix, path, body string) (standins bool) {
	t.Helper()
	for _, member := range members(faulted) {
		if !strings.HasPrefix(member, prefix) {
			continue
		}
		switch status := w.ask(ctx, t, http.MethodPut, member, path, body); status {
		case http.StatusOK:
			standins = true
		case http.StatusNotFound:
		default:
			t.Fatalf("put %s at %s: status %d", path, member, status)
		}
	}
	return standins
}

// ask sends a request to a port and path of a member and returns the status of the answer.
func (w *world) ask(ctx context.Context, t *testing.T, method, member, path, body string) int {
	t.Helper()
	var answer struct {
		Status int `json:"status"`
	}
	url := "http://" + w.member(ctx, t, member).Status.PodIP + path
	if err := w.runPinger(ctx, pinger, &answer, "http", method, url, body); err != nil {
		t.Fatal(err)
	}
	return answer.Status
}

// ownerOf returns the member that owns TiCDC by a status; "" for none.
func ownerOf(status pingcapv1alpha1.TidbClusterStatus) string {
	for _, capture := range status.TiCDC.Captures {
		if capture.IsOwner {
			return strings.TrimPrefix(capture.PodName, faulted+"-")
		}
	}
	return ""
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

// owner is the TiCDC that owns by the status.
func (w *world) owner(ctx context.Context, t *testing.T) string {
	t.Helper()
	status, err := w.status(ctx)
	if err != nil || ownerOf(status) == "" {
		t.Fatalf("captures %v, %v", status.TiCDC.Captures, err)
	}
	return ownerOf(status)
}

// store is the ID of a TiKV's or TiFlash's store by the status.
func (w *world) store(ctx context.Context, t *testing.T, member string) string {
	t.Helper()
	status, err := w.status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, stores := range []map[string]pingcapv1alpha1.TiKVStore{status.TiKV.Stores, status.TiFlash.Stores} {
		for _, store := range stores {
			if store.PodName == ofFaulted(member) {
				return store.ID
			}
		}
	}
	t.Fatalf("%s has no store: %v, %v", member, status.TiKV.Stores, status.TiFlash.Stores)
	return ""
}
