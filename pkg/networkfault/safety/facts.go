package safety

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Pod is what safety needs to know of a pod.
type Pod struct {
	Name      string
	Component tidbcluster.Component
	// Zone is that of the pod's node; empty if the node has none, or is not known.
	Zone string
	// Ready is whether the component's container is ready. Whether the agent is ready
	// says nothing about the database.
	Ready bool
}

// Facts are what safety knows of a TidbCluster. FactsOf makes them.
type Facts struct {
	pods       map[string]Pod
	components []component
	paused     bool
	// unknown is why nobody can say whether a quorum stays; empty if it can be said.
	unknown string
	// members are those of PD, and servers those of TiDB, by name.
	members, servers []member
	// tikv and tiflash are the stores, but for tombstones, by pod.
	tikv, tiflash []store
	// vital are the pods of PD's members and of TiKV's stores.
	vital map[string]bool
	// replicas is how many replicas each region has, if there are enough stores.
	replicas int
	// byZone is whether PD keeps the replicas of a region in different zones.
	byZone bool
	// lease is that of PD's leader.
	lease time.Duration
}

// member is one of PD or of TiDB.
type member struct {
	pod     string
	healthy bool
}

// store is one of TiKV or of TiFlash.
type store struct{ id, pod, state string }

func (s store) isUp() bool { return s.state == tcv1alpha1.TiKVStateUp }

// maxMembers is how many members of PD can be judged. All ways to choose a majority are
// tried, and PD has 3, 5 or 7 members.
const maxMembers = 9

// FactsOf reads what matters from a TidbCluster, as TiDB Operator 1.6 writes it, and
// from its pods. It does not keep the TidbCluster. Nil is one without anything.
func FactsOf(cluster *tcv1alpha1.TidbCluster, pods []Pod) Facts {
	if cluster == nil {
		cluster = &tcv1alpha1.TidbCluster{}
	}
	status := &cluster.Status
	f := Facts{
		pods: make(map[string]Pod), vital: make(map[string]bool), components: componentsOf(cluster), paused: cluster.Spec.Paused,
		tikv: storesOf(status.TiKV.Stores), tiflash: storesOf(status.TiFlash.Stores),
		replicas: maxReplicas(cluster), byZone: isByZone(cluster), lease: leaseOf(cluster),
	}
	for _, p := range pods {
		f.pods[p.Name] = p
	}
	for name, m := range status.PD.Members {
		pod, _, _ := strings.Cut(name, ".") // the name may be a whole DNS name
		f.members = append(f.members, member{pod, m.Health})
		f.vital[pod] = true
	}
	for _, s := range f.tikv {
		f.vital[s.pod] = true
	}
	for name, m := range status.TiDB.Members {
		f.servers = append(f.servers, member{name, m.Health})
	}
	for _, members := range [][]member{f.members, f.servers} {
		slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.pod, b.pod) })
	}
	f.unknown = f.unknownQuorum(cluster)
	return f
}

// storesOf returns stores by pod, and then by ID.
func storesOf(stores map[string]tcv1alpha1.TiKVStore) []store {
	var all []store
	for id, s := range stores {
		if s.State != tcv1alpha1.TiKVStateTombstone {
			all = append(all, store{id, s.PodName, s.State})
		}
	}
	slices.SortFunc(all, func(a, b store) int { return cmp.Or(cmp.Compare(a.pod, b.pod), cmp.Compare(a.id, b.id)) })
	return all
}

// unknownQuorum returns why nobody can say whether a quorum stays, or "".
func (f Facts) unknownQuorum(cluster *tcv1alpha1.TidbCluster) string {
	status := &cluster.Status
	switch {
	case cluster.Heterogeneous():
		return fmt.Sprintf("the TidbCluster is a part of %s (spec.cluster)", cluster.Spec.Cluster.Name)
	case cluster.WithoutLocalPD():
		return "the TidbCluster has no PD of its own (spec.pd)"
	case len(status.PD.PeerMembers) > 0:
		return fmt.Sprintf("PD has members outside the TidbCluster (%d in status.pd.peerMembers)", len(status.PD.PeerMembers))
	case len(status.TiKV.PeerStores) > 0:
		return fmt.Sprintf("there are TiKV stores outside the TidbCluster (%d in status.tikv.peerStores)", len(status.TiKV.PeerStores))
	case len(f.members) == 0:
		return "the members of PD are not known (status.pd.members is empty)"
	case len(f.members) > maxMembers:
		return fmt.Sprintf("PD has %d members (status.pd.members), and at most %d can be judged", len(f.members), maxMembers)
	case len(f.tikv) == 0 && f.component(tidbcluster.TiKV).replicas > 0:
		return "the stores of TiKV are not known (status.tikv.stores is empty)"
	default:
		return ""
	}
}

// unsyncedQuorum returns why what the status says of a quorum may be old, or "".
func (f Facts) unsyncedQuorum() string {
	for _, name := range []tidbcluster.Component{tidbcluster.PD, tidbcluster.TiKV} {
		if c := f.component(name); c.replicas > 0 && !c.synced {
			return fmt.Sprintf("TiDB Operator could not ask %s lately (%s.synced is false)", name, c.status)
		}
	}
	return ""
}

// isMember reports whether a pod is of a member of PD, also when it is gone.
func (f Facts) isMember(pod string) bool {
	return slices.ContainsFunc(f.members, func(m member) bool { return m.pod == pod })
}

// namesOf returns the pods of some members.
func (f Facts) namesOf(some members) map[string]bool {
	pods := make(map[string]bool)
	for i, m := range f.members {
		if some.has(i) {
			pods[m.pod] = true
		}
	}
	return pods
}

// is reports whether a pod is of a component.
func (f Facts) is(pod string, component tidbcluster.Component) bool {
	return f.pods[pod].Component == component
}
