// Package tidbcluster has the types for a pod's membership in a TidbCluster and
// for what the TidbCluster asks of Tidelay. It reads nothing: package resolve
// finds a pod's membership.
package tidbcluster
