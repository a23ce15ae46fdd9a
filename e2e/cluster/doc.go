// Package cluster proves the whole of Tidelay on a Kubernetes cluster with the
// real TiDB Operator, kubelet and packets. hack/e2e.sh makes the cluster, or
// takes the one it is given, and runs it.
//
// All tests share two TidbClusters and one injector. They run side by side where they
// can: each claims what it needs as it is, and what it changes (claims_test.go).
package cluster
