// Package v1alpha1 has the kinds of tidelay.io/v1alpha1: faults of a whole
// TidbCluster, as objects beside it.
//
// Words, units and ranges are those of the agent's JSON (package api). Durations are
// text and are kept as they were written.
//
// The custom resource definitions in manifests/crds, the deep copies and docs/api.md
// are made from these types by "make generate".
//
// +kubebuilder:object:generate=true
// +groupName=tidelay.io
package v1alpha1
