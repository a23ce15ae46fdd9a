package tidbcluster

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Reference names the TidbCluster of a name and UID, as an Event does.
func Reference(cluster types.NamespacedName, uid types.UID) *corev1.ObjectReference {
	apiVersion, kind := tidbClusterKind().ToAPIVersionAndKind()
	return &corev1.ObjectReference{APIVersion: apiVersion, Kind: kind, Namespace: cluster.Namespace, Name: cluster.Name, UID: uid}
}
