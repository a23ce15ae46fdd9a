package tidbcluster

import (
	"errors"

	"k8s.io/apimachinery/pkg/types"
)

var (
	// ErrNotMember reports a pod that is no part of a TidbCluster.
	ErrNotMember = errors.New("not part of a TidbCluster")
	// ErrStaleOwner reports an owner reference to an object that does not exist,
	// or exists under another UID.
	ErrStaleOwner = errors.New("owner does not exist")
)

// Membership says to which TidbCluster a pod belongs, and as which component.
type Membership struct {
	// Cluster is the name and namespace of the TidbCluster.
	Cluster types.NamespacedName
	// UID is the UID of the TidbCluster.
	UID types.UID
	// Component is the component that the pod is part of.
	Component Component
	// OptIn is what the TidbCluster's annotations ask for.
	OptIn OptIn
	// Deleting is whether the TidbCluster is being deleted.
	Deleting bool
}
