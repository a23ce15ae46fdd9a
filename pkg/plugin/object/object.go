package object

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
)

// ManagedBy is the label of the objects that the plugin creates.
func ManagedBy() map[string]string {
	return map[string]string{"app.kubernetes.io/managed-by": "kubectl-tidelay"}
}

// The kinds, of one object and of several.
const (
	Fault      = "NetworkFault"
	Topology   = "NetworkTopology"
	Faults     = "NetworkFaults"
	Topologies = "NetworkTopologies"
)

// NewFault returns a NetworkFault with its kind set.
func NewFault(namespace, name string, spec v1alpha1.NetworkFaultSpec) *v1alpha1.NetworkFault {
	f := &v1alpha1.NetworkFault{Spec: spec}
	f.SetGroupVersionKind(v1alpha1.GroupVersion().WithKind(Fault))
	f.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: ManagedBy()}
	return f
}

// NewTopology returns a NetworkTopology with its kind set.
func NewTopology(namespace, name string, spec v1alpha1.NetworkTopologySpec) *v1alpha1.NetworkTopology {
	t := &v1alpha1.NetworkTopology{Spec: spec}
	t.SetGroupVersionKind(v1alpha1.GroupVersion().WithKind(Topology))
	t.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: ManagedBy()}
	return t
}

// Kind returns the kind of an object.
func Kind(o client.Object) string {
	if _, is := o.(*v1alpha1.NetworkTopology); is {
		return Topology
	}
	return Fault
}

// Plural returns the kind of an object, as of several.
func Plural(o client.Object) string {
	if Kind(o) == Topology {
		return Topologies
	}
	return Faults
}

// Key returns what package decide calls an object where it means either kind.
func Key(o client.Object) string {
	if Kind(o) == Topology {
		return compile.TopologyKey(o.GetName())
	}
	return o.GetName()
}

// Empty returns an empty object of the kind of another one.
func Empty(o client.Object) client.Object {
	if Kind(o) == Topology {
		return &v1alpha1.NetworkTopology{}
	}
	return &v1alpha1.NetworkFault{}
}

// Cluster returns the name of the TidbCluster that an object is for.
func Cluster(o client.Object) string {
	switch o := o.(type) {
	case *v1alpha1.NetworkFault:
		return o.Spec.Cluster
	case *v1alpha1.NetworkTopology:
		return o.Spec.Cluster
	}
	return ""
}

// Life returns the life in the status of an object.
func Life(o client.Object) *v1alpha1.Life {
	if t, is := o.(*v1alpha1.NetworkTopology); is {
		return &t.Status.Life
	}
	return &o.(*v1alpha1.NetworkFault).Status.Life
}

// Allowed returns the rules of safety that an object may break.
func Allowed(o client.Object) []v1alpha1.Allowance {
	if t, is := o.(*v1alpha1.NetworkTopology); is {
		return t.Spec.Allow
	}
	return o.(*v1alpha1.NetworkFault).Spec.Allow
}

// Allow lets an object break more rules of safety.
func Allow(o client.Object, more []v1alpha1.Allowance) {
	all := Allowed(o)
	for _, one := range more {
		if !slices.Contains(all, one) {
			all = append(slices.Clip(all), one)
		}
	}
	if t, is := o.(*v1alpha1.NetworkTopology); is {
		t.Spec.Allow = all
		return
	}
	o.(*v1alpha1.NetworkFault).Spec.Allow = all
}

// duration is how long an object lasts.
func duration(o client.Object) *v1alpha1.Duration {
	if t, is := o.(*v1alpha1.NetworkTopology); is {
		return &t.Spec.Duration
	}
	return &o.(*v1alpha1.NetworkFault).Spec.Duration
}

// WithSpec returns a copy of an object with the spec of another one of its kind.
func WithSpec(o, of client.Object) client.Object {
	after := o.DeepCopyObject().(client.Object)
	switch after := after.(type) {
	case *v1alpha1.NetworkFault:
		of.(*v1alpha1.NetworkFault).Spec.DeepCopyInto(&after.Spec)
	case *v1alpha1.NetworkTopology:
		of.(*v1alpha1.NetworkTopology).Spec.DeepCopyInto(&after.Spec)
	}
	after.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion().WithKind(Kind(o)))
	return after
}

// End says how an object ends, as the end of a sentence; "" for one that lasts until it is
// deleted.
func End(o client.Object) string {
	if *duration(o) == "" {
		return ""
	}
	if life := Life(o); life.StartedAt != nil {
		if d, err := time.ParseDuration(string(*duration(o))); err == nil {
			return "by itself at " + life.StartedAt.Add(d).UTC().Format("15:04:05 UTC")
		}
	}
	return fmt.Sprintf("by itself %s after it starts", *duration(o))
}
