package networkfault

import (
	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// trimTidbCluster keeps what resolve.Trim keeps. Of a TidbCluster that asks for agents
// it also keeps what packages selector and safety read.
func trimTidbCluster(c *tcv1alpha1.TidbCluster) (any, error) {
	spec, status, asks := c.Spec, c.Status, tidbcluster.ParseOptIn(c.Annotations).Inject
	if _, err := resolve.Trim(c); err != nil || !asks {
		return c, err
	}
	conditions := c.Status.Conditions
	c.Spec, c.Status = trimSpec(&spec), trimStatus(&status)
	c.Status.Conditions = conditions
	return c, nil
}

// pdConfigKeys returns the keys of PD's configuration that package safety reads.
func pdConfigKeys() []string {
	return []string{"lease", "replication.max-replicas", "replication.location-labels"}
}

func trimSpec(s *tcv1alpha1.TidbClusterSpec) tcv1alpha1.TidbClusterSpec {
	kept := tcv1alpha1.TidbClusterSpec{Version: s.Version, Paused: s.Paused, Cluster: s.Cluster}
	if c := s.PD; c != nil {
		kept.PD = &tcv1alpha1.PDSpec{Replicas: c.Replicas, MaxFailoverCount: c.MaxFailoverCount, BaseImage: c.BaseImage}
		kept.PD.Image, kept.PD.Version = c.Image, c.Version
		if c.Config != nil && c.Config.GenericConfig != nil {
			kept.PD.Config = tcv1alpha1.NewPDConfig()
			for _, key := range pdConfigKeys() {
				if value := c.Config.Get(key); value != nil {
					kept.PD.Config.Set(key, value.Interface())
				}
			}
		}
	}
	if c := s.TiKV; c != nil {
		kept.TiKV = &tcv1alpha1.TiKVSpec{Replicas: c.Replicas, MaxFailoverCount: c.MaxFailoverCount}
	}
	if c := s.TiDB; c != nil {
		kept.TiDB = &tcv1alpha1.TiDBSpec{Replicas: c.Replicas, MaxFailoverCount: c.MaxFailoverCount}
	}
	if c := s.TiFlash; c != nil {
		kept.TiFlash = &tcv1alpha1.TiFlashSpec{Replicas: c.Replicas, MaxFailoverCount: c.MaxFailoverCount}
	}
	if c := s.TiCDC; c != nil {
		kept.TiCDC = &tcv1alpha1.TiCDCSpec{Replicas: c.Replicas}
	}
	if c := s.TiProxy; c != nil {
		kept.TiProxy = &tcv1alpha1.TiProxySpec{Replicas: c.Replicas}
	}
	if c := s.Pump; c != nil {
		kept.Pump = &tcv1alpha1.PumpSpec{Replicas: c.Replicas}
	}
	for _, c := range s.PDMS {
		if c != nil {
			kept.PDMS = append(kept.PDMS, &tcv1alpha1.PDMSSpec{Name: c.Name, Replicas: c.Replicas})
		}
	}
	return kept
}

func trimStatus(s *tcv1alpha1.TidbClusterStatus) tcv1alpha1.TidbClusterStatus {
	kept := tcv1alpha1.TidbClusterStatus{
		PD: tcv1alpha1.PDStatus{
			Synced: s.PD.Synced, Phase: s.PD.Phase, StatefulSet: trimSet(s.PD.StatefulSet), Image: s.PD.Image,
			Members: trimMembers(s.PD.Members), PeerMembers: trimMembers(s.PD.PeerMembers),
			Leader: trimMember(s.PD.Leader), VolReplaceInProgress: s.PD.VolReplaceInProgress,
		},
		TiKV: tcv1alpha1.TiKVStatus{
			Synced: s.TiKV.Synced, Phase: s.TiKV.Phase, StatefulSet: trimSet(s.TiKV.StatefulSet),
			Stores: trimStores(s.TiKV.Stores), PeerStores: trimStores(s.TiKV.PeerStores), VolReplaceInProgress: s.TiKV.VolReplaceInProgress,
		},
		TiFlash: tcv1alpha1.TiFlashStatus{
			Synced: s.TiFlash.Synced, Phase: s.TiFlash.Phase, StatefulSet: trimSet(s.TiFlash.StatefulSet),
			Stores: trimStores(s.TiFlash.Stores), VolReplaceInProgress: s.TiFlash.VolReplaceInProgress,
		},
		TiDB: tcv1alpha1.TiDBStatus{
			Phase: s.TiDB.Phase, StatefulSet: trimSet(s.TiDB.StatefulSet), VolReplaceInProgress: s.TiDB.VolReplaceInProgress,
		},
		TiCDC:   tcv1alpha1.TiCDCStatus{Synced: s.TiCDC.Synced, Phase: s.TiCDC.Phase, StatefulSet: trimSet(s.TiCDC.StatefulSet)},
		TiProxy: tcv1alpha1.TiProxyStatus{Synced: s.TiProxy.Synced, Phase: s.TiProxy.Phase, StatefulSet: trimSet(s.TiProxy.StatefulSet)},
		Pump:    tcv1alpha1.PumpStatus{Phase: s.Pump.Phase, StatefulSet: trimSet(s.Pump.StatefulSet)},
	}
	kept.TiDB.Members = mapped(s.TiDB.Members, func(m tcv1alpha1.TiDBMember) tcv1alpha1.TiDBMember {
		return tcv1alpha1.TiDBMember{Name: m.Name, Health: m.Health}
	})
	kept.TiCDC.Captures = mapped(s.TiCDC.Captures, func(c tcv1alpha1.TiCDCCapture) tcv1alpha1.TiCDCCapture {
		return tcv1alpha1.TiCDCCapture{PodName: c.PodName, IsOwner: c.IsOwner}
	})
	kept.PDMS = mapped(s.PDMS, func(m *tcv1alpha1.PDMSStatus) *tcv1alpha1.PDMSStatus {
		if m == nil {
			return nil
		}
		return &tcv1alpha1.PDMSStatus{Synced: m.Synced, Phase: m.Phase, StatefulSet: trimSet(m.StatefulSet)}
	})
	return kept
}

// mapped returns a map with each value changed; nil for nil.
func mapped[V any](in map[string]V, change func(V) V) map[string]V {
	if in == nil {
		return nil
	}
	out := make(map[string]V, len(in))
	for key, value := range in {
		out[key] = change(value)
	}
	return out
}

func trimMember(m tcv1alpha1.PDMember) tcv1alpha1.PDMember {
	return tcv1alpha1.PDMember{Name: m.Name, Health: m.Health}
}

func trimMembers(members map[string]tcv1alpha1.PDMember) map[string]tcv1alpha1.PDMember {
	return mapped(members, trimMember)
}

func trimStores(stores map[string]tcv1alpha1.TiKVStore) map[string]tcv1alpha1.TiKVStore {
	return mapped(stores, func(s tcv1alpha1.TiKVStore) tcv1alpha1.TiKVStore {
		return tcv1alpha1.TiKVStore{ID: s.ID, PodName: s.PodName, State: s.State, LeaderCount: s.LeaderCount}
	})
}

func trimSet(s *appsv1.StatefulSetStatus) *appsv1.StatefulSetStatus {
	if s == nil {
		return nil
	}
	return &appsv1.StatefulSetStatus{
		CurrentRevision: s.CurrentRevision, UpdateRevision: s.UpdateRevision, UpdatedReplicas: s.UpdatedReplicas, Replicas: s.Replicas,
	}
}
