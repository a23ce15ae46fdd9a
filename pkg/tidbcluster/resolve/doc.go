// Package resolve finds the TidbCluster that a pod belongs to.
//
// It knows the objects of TiDB Operator v1 (read at v1.6.0 and v1.6.5):
//
//	Pod -> StatefulSet (apps or apps.pingcap.com) -> TidbCluster
//	Pod -> ReplicaSet -> Deployment               -> TidbCluster   (discovery)
//
// Ownership is the proof. Each step follows the controller owner reference to an
// object of that group, kind, name and UID in the pod's own namespace. Labels
// prove nothing: the pods of a TidbMonitor carry the same labels as those of a
// TidbCluster and belong to none.
//
// The author of a pod may write its labels, annotations and owner references
// freely. None of them can widen what a TidbCluster asks for, because the
// component comes from the name of the workload that the TidbCluster owns. An
// author who forges a reference to a real StatefulSet gets a container that he
// could have written down himself, with an image that he can't choose.
package resolve
