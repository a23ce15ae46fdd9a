package object

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// Asked is an object that is asked for.
type Asked struct {
	Wanted client.Object
	// Before is the one that is there and is to become it; nil for none.
	Before client.Object
}

// AskFault asks for a NetworkFault. name is "" to have one made. The error says that another
// one has the name.
func AskFault(all []*v1alpha1.NetworkFault, namespace, name string, spec v1alpha1.NetworkFaultSpec) (Asked, error) {
	there, name, err := Find(all, &spec, name)
	if err != nil {
		return Asked{}, err
	}
	wanted := NewFault(namespace, name, spec)
	if there == nil {
		return Asked{Wanted: wanted}, nil
	}
	// They may be written in another way, and can't be changed.
	wanted.Spec.From, wanted.Spec.To = there.Spec.From, there.Spec.To
	return Asked{wanted, there}, nil
}

// taken is the error that a NetworkFault has a name that was asked for.
func taken(f *v1alpha1.NetworkFault) error {
	return fmt.Errorf("NetworkFault %s is there already, for %s: choose another name, or clear it first", f.Name, about(&f.Spec))
}
