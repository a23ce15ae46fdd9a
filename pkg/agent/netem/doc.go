// Package netem puts faults on a pod's interfaces with the kernel's own
// emulator, over rtnetlink and without the tc binary.
//
// For every interface and direction that a fault is for there is one tree.
// That of egress is on the interface itself. That of ingress is on an ifb of
// ours, to which an ingress qdisc redirects all IPv4 and IPv6 that arrives;
// ARP is never redirected:
//
//	root  prio 7de1:               16 bands; every packet's default is band 1
//	├─ 7de1:1   pfifo 7de3:        clean: ARP, neighbour discovery, the exempt
//	├─ 7de1:2   netem 7e02:        one fault
//	├─ ...
//	└─ 7de1:10  netem 7e10:        the fifteenth fault (tc writes hexadecimal)
//
// A packet meets a fault only because a filter leads it there, so whatever the
// filters don't know (ARP, LLDP) stays clean by construction. The filters are
// of kind u32 and compare words of the packet:
//
//   - ports are compared where TCP and UDP have them in IPv4 without options and
//     in IPv6 without extension headers, and in the first fragment only; other
//     packets of the connection meet no fault that names ports, and the exempt
//     ports are not recognised in them;
//   - a range of ports becomes the fewest blocks of a power of two;
//   - ICMP and protocol in IPv6 mean the first next header.
//
// The order of the filters decides: the exempt first, then fault.Rules. They
// are kept in one list per IP family. A list is not edited where packets meet
// it. A new one is built before or behind it, under priorities of its own, and
// then the old one is deleted in one request; see plan.go for why no packet
// meets anything but its old or its new fault in between.
//
// The root of egress and the ingress qdisc are both there with the first fault
// of either direction, empty where none is for theirs; see hook.go for why.
//
// The qdiscs live in the pod's network namespace and not in the agent, so
// faults outlive the agent. The handles mark a tree as ours. What somebody
// else made is never replaced, neither as root, nor inside our tree, nor as
// ingress qdisc.
package netem
