// Package selector says which pods of a TidbCluster a fault is between.
//
// A selector is text: component[(pick)][@zone]. A comma means "and also".
//
//	tikv                  every TiKV, also those that come later
//	pd(leader)            the leader of PD when the fault starts
//	tikv(random:2)@b      two TiKVs of zone b, which the fault's seed chooses
//	tidb(0), ticdc        TiDB 0 and every TiCDC
//	others                whatever of the cluster is not in "from"
//	pod/basic-tikv-7      one pod by its name
//	cidr/10.0.0.0/8       addresses outside the cluster
//
// The package is pure: it decides from its arguments, and neither reads a clock nor
// asks anybody.
package selector
