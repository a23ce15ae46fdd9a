// Package safety says which faults of a TidbCluster are too dangerous to be in force.
//
// A pair of pods is severed when they can hardly talk to each other any more: by a
// partition, by the loss of half of the packets, or by a round trip so long that they
// give each other up. What happens to UDP and ICMP severs nothing, and a fault of some
// ports severs as if it were one of all. From the severed pairs follows whether PD and
// the regions of TiKV keep a majority, and whether TiDB Operator will replace a pod.
// Every rule can be allowed, fault by fault.
//
// The package is pure: it decides from its arguments, and neither reads a clock nor asks
// anybody. It knows of PD's configuration what the spec says. Placement rules, and what
// was changed in PD since, it does not know.
package safety
