package safety

import (
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// component is what spec and status of a TidbCluster say of one component.
type component struct {
	name tidbcluster.Component
	// status is where its status is, as in "status.pd".
	status      string
	replicas    int32
	maxFailover *int32
	// synced is whether TiDB Operator could ask it; true for a component that has no
	// such field.
	synced bool
	phase  tcv1alpha1.MemberPhase
	// updating is whether its StatefulSet has pods of an older revision, and replacing
	// whether its volumes are being replaced.
	updating, replacing bool
}

// componentsOf returns the components that a TidbCluster has, in a fixed order.
func componentsOf(cluster *tcv1alpha1.TidbCluster) []component {
	spec, status := &cluster.Spec, &cluster.Status
	var all []component
	if c, s := spec.PD, &status.PD; c != nil {
		all = append(all, component{tidbcluster.PD, "status.pd", c.Replicas, c.MaxFailoverCount, s.Synced, s.Phase, isUpdating(s.StatefulSet), s.VolReplaceInProgress})
	}
	if c, s := spec.TiKV, &status.TiKV; c != nil {
		all = append(all, component{tidbcluster.TiKV, "status.tikv", c.Replicas, c.MaxFailoverCount, s.Synced, s.Phase, isUpdating(s.StatefulSet), s.VolReplaceInProgress})
	}
	if c, s := spec.TiDB, &status.TiDB; c != nil {
		all = append(all, component{tidbcluster.TiDB, "status.tidb", c.Replicas, c.MaxFailoverCount, true, s.Phase, isUpdating(s.StatefulSet), s.VolReplaceInProgress})
	}
	if c, s := spec.TiFlash, &status.TiFlash; c != nil {
		all = append(all, component{tidbcluster.TiFlash, "status.tiflash", c.Replicas, c.MaxFailoverCount, s.Synced, s.Phase, isUpdating(s.StatefulSet), s.VolReplaceInProgress})
	}
	if c, s := spec.TiCDC, &status.TiCDC; c != nil {
		all = append(all, component{tidbcluster.TiCDC, "status.ticdc", c.Replicas, nil, s.Synced, s.Phase, isUpdating(s.StatefulSet), false})
	}
	if c, s := spec.TiProxy, &status.TiProxy; c != nil {
		all = append(all, component{tidbcluster.TiProxy, "status.tiproxy", c.Replicas, nil, s.Synced, s.Phase, isUpdating(s.StatefulSet), false})
	}
	if c, s := spec.Pump, &status.Pump; c != nil {
		all = append(all, component{tidbcluster.Pump, "status.pump", c.Replicas, nil, true, s.Phase, isUpdating(s.StatefulSet), false})
	}
	for _, c := range spec.PDMS {
		if c == nil {
			continue
		}
		s := status.PDMS[c.Name]
		if s == nil {
			s = &tcv1alpha1.PDMSStatus{}
		}
		all = append(all, component{tidbcluster.Component(c.Name), "status.pdms." + c.Name, c.Replicas, nil, s.Synced, s.Phase, isUpdating(s.StatefulSet), false})
	}
	return all
}

// isUpdating reports whether a StatefulSet has pods of an older revision. The revisions
// alone can differ for ever, by the update strategy.
func isUpdating(set *appsv1.StatefulSetStatus) bool {
	return set != nil && set.CurrentRevision != set.UpdateRevision && set.UpdatedReplicas < set.Replicas
}

// isNormal reports whether nobody upgrades, scales or suspends a component.
func (c component) isNormal() bool {
	return (c.phase == "" || c.phase == tcv1alpha1.NormalPhase) && !c.updating && !c.replacing
}

// component returns that of a name; the zero value if the TidbCluster has none.
func (f Facts) component(name tidbcluster.Component) component {
	for _, c := range f.components {
		if c.name == name {
			return c
		}
	}
	return component{}
}

// patience returns how long TiDB Operator lets a member of the component fail before it
// replaces it, with half a minute to spare. It returns false if it never does. The
// operator waits 5 minutes (its options *-failover-period); before that PD waits 30
// minutes until it takes a store for down.
func (c component) patience() (time.Duration, bool) {
	switch c.name {
	case tidbcluster.PD, tidbcluster.TiDB:
		return 4*time.Minute + 30*time.Second, c.failsOver()
	case tidbcluster.TiKV, tidbcluster.TiFlash:
		return 34 * time.Minute, c.failsOver()
	default:
		return 0, false
	}
}

// failsOver reports whether a member is ever replaced. Without a count TiDB Operator
// takes 3.
func (c component) failsOver() bool { return c.maxFailover == nil || *c.maxFailover > 0 }
