//go:build linux

// Package nfqueue puts faults on what leaves and arrives at a pod on kernels
// without netem, with NET_ADMIN and nothing else.
//
// The kernel holds the packets. This process only sees their ids and says when
// they may go, or that they are lost:
//
//	          table tidelay, chain postrouting (egress) or input (ingress)
//	packet ──► exempt? ──no──► first rule that matches ──► chain of its fault
//	              │                                             │
//	              │                     queue 2340.. or 2360.. of the fault ─────► on
//	              │                                     │    ▲
//	              │                                  id │    │ verdict
//	              │                                     ▼    │
//	              │                                lane: shape, ring, heap
//	              └─────yes──────────────────────────────────────────────────────► on
//
// Each fault has a queue and a lane of its own in each direction. With one
// delay for all, packets leave in the order in which they came, and one verdict
// releases everything that is due. Where chance decides, each packet has its
// own deadline in a heap, and its own verdict; many go in one system call. One
// timer does for all.
//
// The rules are the fault: their comments keep its name and a digest, so that
// an agent that was killed finds its faults again and `nft list ruleset` shows
// them. While nobody reads a queue the rules let packets pass (bypass). A queue
// without room lets them pass too (fail-open).
//
// # Changes
//
// A change is one nftables transaction and never removes a hook. The chain of a
// fault that stays is not written, so its rules count on, and its queue is not
// touched. Packets of a fault that ends leave before its rules go, in order, and
// those that came meanwhile right after. When a delay gets shorter, or a link
// faster, those that wait are late by no more than those that come.
// What the kernel refuses half way is taken back.
//
// Packets and bytes are counted by the rules, everything else by the lanes.
//
// # TCP
//
// A TCP socket may have about a millisecond of data between itself and the
// wire (TCP small queues, tcp_small_queue_check in net/ipv4/tcp_output.c), and
// what waits in a queue counts. Under 20 ms one stream falls from gigabits to
// 2 Mbit/s. netem avoids that by taking the packet from its socket
// (skb_orphan_partial). Rules can't, but a copy belongs to no socket. So a TCP
// packet is copied and thrown away, and its copy, known by a mark, waits:
//
//	TCP packet ──► mark, dup, unmark ──► queue 2333, swallowed
//	                      └──► copy ──► output and postrouting again ──► unmark ──► queue 2340
//
// Queue 2333 is bound without a copy mode. The kernel frees what such a queue
// is given and tells the sender that all went well, whereas a drop rule would
// make TCP believe that it could not send. Without an agent the original
// passes and the copy is dropped. SYN packets are held themselves, since
// connection tracking takes up a connection when its first packet leaves. What
// arrives belongs to no socket yet and is held itself.
//
// A partition leads to queue 2333 too: its sender is not told either.
//
// # Limits
//
//   - A UDP socket pays for what waits out of its send buffer. With the default
//     of 208 KiB it has 256 small datagrams, or 93 of full size, on the way;
//     then it blocks.
//   - TCP packets that carry a mark of their own (SO_MARK) are held themselves,
//     at the speed that small queues allow.
//   - Other tables of the pod meet each copy as a second, untracked packet.
//   - A rate and a loss count what the kernel hands over, which for TCP can be a
//     segment of 64 KiB that is cut up later.
//   - Ports are matched in the first fragment of a packet only; the others meet
//     a fault that names no port, or none.
//   - In a user namespace of its own a pod's sockets have the room that
//     net.core.rmem_max allows. A stall of the reader then lets packets pass
//     sooner, and a set of hundreds of peers and ports can be refused.
//   - What waits when the reader is killed is lost, and so is what waits when
//     somebody removes a netfilter hook in the pod (nf_queue_nf_hook_drop).
package nfqueue
