// Package netem puts faults on a pod's interfaces with the kernel's own
// emulator, over rtnetlink and without the tc binary.
//
// An interface and a direction together are an attach point, where one tree of
// qdiscs can be. The tree of egress is on the interface itself. That of ingress
// is on an ifb of ours, to which filters on an ingress qdisc redirect all IPv4
// and IPv6 packets that arrive. ARP is never redirected. A tree is
//
//	root  prio 7de1:               16 bands; band 1 is every packet's default
//	├─ 7de1:1   pfifo 7de3:        clean: ARP, neighbour discovery, the exempt
//	├─ 7de1:2   netem 7e02:        one fault
//	├─ ...
//	└─ 7de1:10  netem 7e10:        the fifteenth fault (tc writes hexadecimal)
//
// A fault with a rate has a tbf between its band and its netem, which cuts up
// large segments; see segmenter.go.
//
// A packet meets a fault only if a filter sends it there. So whatever the
// filters do not know (ARP, LLDP) stays clean. The filters are of kind u32 and
// compare bytes of the packet:
//
//   - Ports are compared where TCP and UDP have them in IPv4 without options and
//     in IPv6 without extension headers, and in the first fragment only. Other
//     packets of the same connection meet no fault that names ports, and the
//     exempt ports are not recognised in them.
//   - A range of ports becomes the fewest parts whose size is a power of two and
//     that one mask can match.
//   - The protocol of an IPv6 packet is its first next header. TCP segments of
//     more than 64 KiB (BIG TCP) are known by their hop-by-hop header too.
//
// The order of the filters decides: first the exempt, then fault.Rules. There is
// one list for each IP family. Filters of many peers are in hash tables, which does
// not change the order; see hash.go. A list that packets meet is not edited. A new one
// is built before or behind it, under priorities of its own, and then the old
// one is deleted in one request. reroute.go proves that every packet meets its
// old or its new fault in between.
//
// # A change
//
// What the code calls one thing in its stages is: the desired tree, which is
// what the faults ask for; the target tree, which the kernel should hold for
// it; the found tree, which was read from the kernel; and what was applied, which
// this process has put there. A change goes
//
//	faults ── desiredAt ──► desired ── assignBands ──► target ─┐
//	kernel ── read ───────────────────────────────────► found ─┴─ plan ──► ops
//
// and is verified by another read: the plan must then be empty.
//
// Interfaces are known by name. Each change reads which of them are there, and
// starts anew if one is replaced meanwhile. Trees of ours on other interfaces,
// such as one that was renamed, are deleted, and so are ifbs whose interface is
// gone.
//
// The root of egress and the ingress qdisc both come with the first fault of
// either direction, empty where there is no fault; hook.go says why.
//
// # What is ours
//
// The qdiscs are in the pod's network namespace and not in the agent, so faults
// outlive the agent. Fixed handles show which tree is ours. What somebody else
// made is never replaced, neither as root, nor inside our tree, nor as ingress
// qdisc.
package netem
