// Package injection decides what happens to a pod of a TidbCluster: whether it gets
// the Tidelay agent, for which [Reason] not, and by which patch it is added.
//
// It only decides. A decision depends on the pod, its membership in a TidbCluster, the
// configuration ([Config]) and a few [Facts], and on nothing else: this package has no
// client, clock or log. Package gather reads the facts, and package configfile the
// configuration.
package injection
