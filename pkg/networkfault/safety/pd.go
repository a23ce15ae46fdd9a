package safety

import (
	"slices"
	"strings"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	"k8s.io/apimachinery/pkg/util/version"
)

const (
	// shortLease is the lease of PD's leader up to v8.5.1, and longLease that from
	// v8.5.2 on.
	shortLease = 3 * time.Second
	longLease  = 5 * time.Second
	// maxLease bounds what a configuration can say, in seconds.
	maxLease = 600
	// defaultReplicas is PD's own default of max-replicas. mostReplicas bounds what a
	// configuration can say: with more replicas more could be lost, and it would take
	// longer to find out.
	defaultReplicas, mostReplicas = 3, 17
)

// leaseOf returns the lease of PD's leader: that of the configuration, or of the
// version. It is the short one where that is not known, such as during an upgrade.
func leaseOf(cluster *tcv1alpha1.TidbCluster) time.Duration {
	lease := shortLease
	if hasLongLease(cluster.PDVersion()) {
		lease = longLease
	}
	if seconds, ok := number(cluster, "lease"); ok && seconds >= 1 && seconds <= maxLease {
		lease = time.Duration(seconds) * time.Second
	}
	for _, c := range componentsOf(cluster) {
		running := cluster.Status.PD.Image
		if c.status == "status.pd" && (!c.isNormal() || running != "" && running != cluster.PDImage()) {
			lease = min(lease, shortLease)
		}
	}
	return lease
}

// hasLongLease reports whether PD has the long lease by the tag of its image. A tag that
// is not of a release, such as nightly, can be anything.
func hasLongLease(tag string) bool {
	v, err := version.ParseSemantic(tag)
	return err == nil && v.PreRelease() == "" && !v.LessThan(version.MajorMinor(8, 5).WithPatch(2))
}

// maxReplicas returns how many replicas a region has.
func maxReplicas(cluster *tcv1alpha1.TidbCluster) int {
	if n, ok := number(cluster, "replication.max-replicas"); ok && n >= 1 {
		return int(min(n, mostReplicas))
	}
	return defaultReplicas
}

// isByZone reports whether PD keeps the replicas of a region in different zones.
func isByZone(cluster *tcv1alpha1.TidbCluster) bool {
	value := configured(cluster, "replication.location-labels")
	var labels []string
	switch list := value.(type) {
	case string:
		labels = strings.Split(list, ",")
	case []string:
		labels = list
	case []any:
		for _, one := range list {
			if label, ok := one.(string); ok {
				labels = append(labels, label)
			}
		}
	}
	return slices.ContainsFunc(labels, func(label string) bool {
		switch strings.TrimSpace(label) {
		case "zone", "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone":
			return true
		default:
			return false
		}
	})
}

// configured returns a value of PD's configuration in the spec; nil if there is none.
func configured(cluster *tcv1alpha1.TidbCluster, key string) any {
	if cluster.Spec.PD == nil || cluster.Spec.PD.Config == nil {
		return nil
	}
	return cluster.Spec.PD.Config.Get(key).Interface()
}

// number is a configured value that is a whole number.
func number(cluster *tcv1alpha1.TidbCluster, key string) (int64, bool) {
	if configured(cluster, key) == nil {
		return 0, false
	}
	n, err := cluster.Spec.PD.Config.Get(key).AsInt()
	return n, err == nil
}
