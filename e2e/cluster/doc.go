// Package cluster proves the whole of Tidelay on a Kubernetes cluster with the
// real TiDB Operator, kubelet and packets. hack/e2e.sh makes the cluster, or
// takes the one it is given, and runs it.
package cluster
