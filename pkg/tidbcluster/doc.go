// Package tidbcluster tells to which TidbCluster a pod belongs, as which
// component, and what that TidbCluster asks of Tidelay.
//
// It knows the objects of TiDB Operator v1 (read at v1.6.0 and v1.6.5):
//
//	Pod -> StatefulSet (apps or apps.pingcap.com) -> TidbCluster
//	Pod -> ReplicaSet -> Deployment               -> TidbCluster   (discovery)
//
// Ownership is the proof: each step follows the controller owner reference to
// an object of that group, kind, name and UID in the pod's own namespace.
// Labels are a hint at most. TidbMonitor's pods carry the same labels as a
// TidbCluster's and belong to none.
//
// What a pod's author may write freely, its own labels, annotations and owner
// references, cannot widen what a TidbCluster asked for: the component comes
// from the name of the workload that the TidbCluster owns. An author who forges
// a reference to a real StatefulSet gets a container he could have written down
// himself, with an image he cannot choose.
package tidbcluster
