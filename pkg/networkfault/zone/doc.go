// Package zone says which zones a NetworkTopology makes of a TidbCluster, which pods are in
// them, and what is between them.
//
// Zones come from a label of the pods' nodes, from a list of members, or are dealt out by the
// pods' numbers. What is between two zones is a link of the spec or of a profile, else a
// default. Discovery is in a zone only where a list names it.
//
// The package is pure. The order of pods, and of the zones and links of a spec, means nothing.
package zone
