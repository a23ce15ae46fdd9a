package object

import (
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
)

// GoesByNodes reports whether the zones of nodes say which pods an object is about: those of a
// topology that neither lists nor deals out its own, and those that a fault names, as
// "tikv@east" does.
func GoesByNodes(o client.Object) bool {
	switch o := o.(type) {
	case *v1alpha1.NetworkTopology:
		return o.Spec.Spread == 0 && len(o.Spec.Zones) == 0
	case *v1alpha1.NetworkFault:
		return slices.ContainsFunc(slices.Concat(o.Spec.From, o.Spec.To), hasZone)
	}
	return false
}

func hasZone(text v1alpha1.Selector) bool {
	some, err := selector.Parse(string(text))
	return err == nil && slices.ContainsFunc(some, func(s selector.Selector) bool { return s.Zone != "" })
}
