// Package networkfault carries out the NetworkFaults and NetworkTopologies of TidbClusters.
//
// The Reconciler works by TidbCluster: it reads everything about one from the cache
// (observe.go), has package decide decide, writes which faults start, hands what each
// agent is to hold to package keeper, and writes what came of it (reconciler.go). A start
// is written before anything is done, so that a pinned leader and the end of a fault are
// not forgotten. An end is carried out whether or not it can be written.
//
// Nothing is kept that could not be read again: the objects have the state, and agents
// let go of a fault that nobody renews.
package networkfault
