package resolve

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/confirm"
)

// Hop is one step of the way from a pod to its TidbCluster: a controller owner reference, and
// what was found of the owner that it names.
type Hop struct {
	// Owner is the reference, as it is written.
	Owner metav1.OwnerReference
	// Finding says what was found.
	Finding Finding
	// UID is that of the object which is there; "" if none is, or if it was not read.
	UID types.UID
	// Err is why it was not read if Finding is Unread, else nil.
	Err error
}

// Finding is what was found of an owner.
type Finding string

// The findings.
const (
	// Found is an object with the UID of the reference.
	Found Finding = "found"
	// Replaced is an object of that name with another UID.
	Replaced Finding = "replaced"
	// Gone is no object of that name, or no such kind.
	Gone Finding = "gone"
	// Unread is an object that could not be read.
	Unread Finding = "unread"
	// Foreign is an owner that can't be on the way to a TidbCluster's pod, by its kind or by
	// the name of the workload below it. It was not looked at.
	Foreign Finding = "foreign"
)

// hopTo returns the hop to an owner, by what reading it returned.
func hopTo(ref metav1.OwnerReference, owner metav1.Object, err error) Hop {
	hop := Hop{Owner: ref, Finding: Found}
	switch {
	case confirm.IsAbsent(err):
		hop.Finding = Gone
		return hop
	case err != nil:
		hop.Finding, hop.Err = Unread, err
		return hop
	}
	if hop.UID = owner.GetUID(); hop.UID != ref.UID {
		hop.Finding = Replaced
	}
	return hop
}
