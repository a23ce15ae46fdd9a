package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of Tidelay's kinds.
const GroupName = "tidelay.io"

// GroupVersion is the group with this version.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}
}

// AddToScheme adds the kinds of this version to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion(), &NetworkFault{}, &NetworkFaultList{}, &NetworkTopology{}, &NetworkTopologyList{})
	metav1.AddToGroupVersion(scheme, GroupVersion())
	return nil
}
