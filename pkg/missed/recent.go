package missed

import (
	"strings"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
)

// recent knows what the check before has found. What a check reads is a moment old, and
// what it finds amiss may be a pod or a replica that is just being replaced. So such a
// finding is told only when two checks in a row make it.
type recent[K comparable] struct {
	before, now map[K]bool
}

// next begins a check.
func (r *recent[K]) next() { r.before, r.now = r.now, map[K]bool{} }

// again notes a finding, and reports whether the check before made it too.
func (r *recent[K]) again(finding K) bool {
	r.now[finding] = true
	return r.before[finding]
}

// says reports whether our condition of a TidbCluster has a text in its message. A
// finding that it tells already is told further by a replica that begins to lead.
func says(cluster *v1alpha1.TidbCluster, text string) bool {
	own := ownCondition(cluster)
	return own != nil && strings.Contains(own.Message, text)
}

// saidByAny reports whether one of the conditions has a text in its message.
func saidByAny(clusters map[string][]*v1alpha1.TidbCluster, text string) bool {
	for _, ofNamespace := range clusters {
		for _, cluster := range ofNamespace {
			if says(cluster, text) {
				return true
			}
		}
	}
	return false
}
