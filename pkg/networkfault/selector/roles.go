package selector

import (
	"strconv"
	"strings"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Roles are what the pods of a TidbCluster are at the moment, by their names.
type Roles struct {
	// Leader is the leader of PD, and Owner that of TiCDC; empty if nobody is known to
	// be.
	Leader, Owner string
	// Stores has the TiKV and TiFlash stores, by ID.
	Stores map[uint64]StoreInfo
	// Unsynced are the components of which TiDB Operator could not ask. What it says of
	// them is older.
	Unsynced map[tidbcluster.Component]bool
}

// StoreInfo is a store of TiKV or TiFlash.
type StoreInfo struct {
	Pod       string
	Component tidbcluster.Component
	// Leaders is how many regions it leads; 0 for TiFlash, which leads none.
	Leaders int32
	// Up is whether PD says so.
	Up bool
}

// RolesOf reads the roles from the status of a TidbCluster, as TiDB Operator v1 writes
// it (pkg/manager/member). Stores that are gone (tombstones), and members of other
// TidbClusters, have no role here.
func RolesOf(status *v1alpha1.TidbClusterStatus) Roles {
	r := Roles{
		Leader: podOf(status.PD.Leader.Name),
		Stores: map[uint64]StoreInfo{},
		Unsynced: map[tidbcluster.Component]bool{
			tidbcluster.PD: !status.PD.Synced, tidbcluster.TiKV: !status.TiKV.Synced,
			tidbcluster.TiFlash: !status.TiFlash.Synced, tidbcluster.TiCDC: !status.TiCDC.Synced,
		},
	}
	if _, ours := status.PD.Members[status.PD.Leader.Name]; !ours {
		r.Leader = "" // of another TidbCluster, or gone
	}
	for _, capture := range status.TiCDC.Captures {
		if capture.IsOwner {
			r.Owner = capture.PodName
		}
	}
	for component, stores := range map[tidbcluster.Component]map[string]v1alpha1.TiKVStore{
		tidbcluster.TiKV: status.TiKV.Stores, tidbcluster.TiFlash: status.TiFlash.Stores,
	} {
		for _, s := range stores {
			id, err := strconv.ParseUint(s.ID, 10, 64)
			if err != nil {
				continue // no store that PD knows
			}
			r.Stores[id] = StoreInfo{Pod: s.PodName, Component: component, Leaders: s.LeaderCount, Up: s.State == v1alpha1.TiKVStateUp}
		}
	}
	return r
}

// podOf returns the pod of a member of PD, whose name may be the pod's whole DNS name.
func podOf(member string) string {
	pod, _, _ := strings.Cut(member, ".")
	return pod
}
