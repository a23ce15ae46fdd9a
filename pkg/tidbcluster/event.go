package tidbcluster

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// GroupVersionKind is the kind TidbCluster of TiDB Operator v1, in the version
// that is read.
func GroupVersionKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "pingcap.com", Version: "v1alpha1", Kind: "TidbCluster"}
}

// Reference refers to a TidbCluster in the way that an Event does.
func Reference(cluster types.NamespacedName, uid types.UID) *corev1.ObjectReference {
	apiVersion, kind := GroupVersionKind().ToAPIVersionAndKind()
	return &corev1.ObjectReference{APIVersion: apiVersion, Kind: kind, Namespace: cluster.Namespace, Name: cluster.Name, UID: uid}
}

// maxNote is the longest note, in bytes, that the API server accepts in an Event
// (pkg/apis/core/validation/events.go).
const maxNote = 1024

// EventNote returns note, cut to what the API server accepts in an Event.
func EventNote(note string) string {
	if len(note) <= maxNote {
		return note
	}
	return strings.ToValidUTF8(note[:maxNote-len("...")], "") + "..."
}
