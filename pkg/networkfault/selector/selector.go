package selector

import (
	"net/netip"
	"strconv"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Selector names pods of a TidbCluster, or addresses outside it. Exactly one of
// Component, All, Others, Pod and CIDR is set.
type Selector struct {
	// Component selects the pods of a component.
	Component tidbcluster.Component
	// All selects every pod of the cluster but discovery's.
	All bool
	// Others selects what All does, without the pods of "from".
	Others bool
	// Pod is the name of one pod.
	Pod string
	// CIDR is a range of addresses outside the cluster.
	CIDR netip.Prefix

	// Pick narrows a component to some of its pods. The zero value is all of them.
	Pick Pick
	// Zone narrows to the pods of one zone; empty for all zones.
	Zone string
}

// Pick says which pods of a component are meant.
type Pick struct {
	How How
	// Number is how many pods Random takes, which pod Ordinal is, or which store Store
	// is.
	Number uint64
}

// How is a way of picking pods.
type How string

// The ways of picking. A role is what a pod is when the fault starts.
const (
	// Leader is the leader of PD, and Follower every other member of PD.
	Leader   How = "leader"
	Follower How = "follower"
	// Owner is the owner of TiCDC.
	Owner How = "owner"
	// Busiest is the TiKV whose store leads the most regions.
	Busiest How = "busiest"
	// Random is Pick.Number pods, one if that is 0.
	Random How = "random"
	// Minority is fewer than half of the pods: 1 of 3, 2 of 5, and nobody of 2.
	// Majority is all others.
	Minority How = "minority"
	Majority How = "majority"
	// Half is half of the pods, rounded down.
	Half How = "half"
	// Ordinal is the pod whose name ends with Pick.Number.
	Ordinal How = "ordinal"
	// Store is the pod of the TiKV or TiFlash store with the ID Pick.Number.
	Store How = "store"
)

// IsPinned reports whether the selector means what it selects when the fault starts,
// so that a pod that is replaced keeps its fault. All others follow the pods that come
// and go.
func (s Selector) IsPinned() bool {
	switch s.Pick.How {
	case "", Ordinal:
		return false
	default:
		return true
	}
}

// String returns the selector as it is usually written. Parse reads it back.
func (s Selector) String() string {
	text := string(s.Component)
	switch {
	case s.All:
		text = wordAll
	case s.Others:
		text = wordOthers
	case s.Pod != "":
		text = prefixPod + s.Pod
	case s.CIDR.IsValid():
		text = prefixCIDR + s.CIDR.String()
	}
	if pick := s.Pick.String(); pick != "" {
		text += "(" + pick + ")"
	}
	if s.Zone != "" {
		text += "@" + s.Zone
	}
	return text
}

// String returns what stands between the brackets of a selector.
func (p Pick) String() string {
	number := strconv.FormatUint(p.Number, 10)
	switch {
	case p.How == Ordinal:
		return number
	case p.How == Store:
		return string(Store) + "=" + number
	case p.How == Random && p.Number > 1:
		return string(Random) + ":" + number
	default:
		return string(p.How)
	}
}
