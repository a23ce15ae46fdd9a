package object

import (
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// Asked is an object that is asked for.
type Asked struct {
	Wanted client.Object
	// Before is the one that is there and is to become it; nil for none.
	Before client.Object
}

// AskFault asks for a NetworkFault. name is "" to have one made. all are those of the namespace,
// also of other TidbClusters. The error is a *Taken.
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

// AskTopology asks for a NetworkTopology. all are those of the namespace, also of other
// TidbClusters. The error is a *Taken.
func AskTopology(all []*v1alpha1.NetworkTopology, wanted *v1alpha1.NetworkTopology) (Asked, error) {
	i := slices.IndexFunc(all, func(t *v1alpha1.NetworkTopology) bool { return t.Name == wanted.Name })
	switch {
	case i < 0:
		return Asked{Wanted: wanted}, nil
	case all[i].Spec.Cluster != wanted.Spec.Cluster:
		return Asked{}, taken(all[i])
	default:
		return Asked{wanted, all[i]}, nil
	}
}

// Taken is the error that something else has a name that was asked for.
type Taken struct {
	// What says what has it.
	What string
}

// Error says what has the name, and what can be done.
func (t *Taken) Error() string { return t.What + ": choose another name, or clear it first" }

// taken is the error that an object has a name that was asked for.
func taken(o client.Object) error {
	of := "TidbCluster " + Cluster(o)
	if f, is := o.(*v1alpha1.NetworkFault); is {
		of = about(&f.Spec)
	}
	return &Taken{fmt.Sprintf("%s %s is there already, for %s", Kind(o), o.GetName(), of)}
}
