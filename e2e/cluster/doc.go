// Package cluster proves the whole of Tidelay on a Kubernetes cluster with the
// real TiDB Operator, kubelet and packets. hack/e2e.sh makes the cluster, or
// takes the one it is given, and runs it.
//
// All tests share one injector, one controller and the TidbClusters of two namespaces:
// those that are annotated and restarted (world_test.go), and one with a pod for each
// role, which takes NetworkFaults and NetworkTopologies (faulted_test.go). They run side
// by side where they can: each claims what it needs as it is, and what it changes
// (claims_test.go).
package cluster
