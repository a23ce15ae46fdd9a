// Package netem delays the packets that leave one network interface with the
// kernel's own emulator, over rtnetlink and without the tc binary.
//
// The tree it builds on an interface:
//
//	root  prio 7de1:              every packet's default is band 1
//	├─ 7de1:1  pfifo 7de3:        clean: ARP, neighbour discovery, the exempt
//	└─ 7de1:2  netem 7de2:        delayed: what the filters lead here
//
// A packet is delayed only because a filter says so, so whatever the filters
// don't know (ARP, LLDP) stays clean by construction. The last filters, which
// match all IPv4 and all IPv6, switch the fault on: they are put in place last
// and taken away first, and a tree without them delays nothing.
//
// The qdisc lives in the pod's network namespace and not in the agent, so a
// fault outlives the agent. The handles mark the tree as ours: a root qdisc
// that somebody else made is never replaced.
package netem
