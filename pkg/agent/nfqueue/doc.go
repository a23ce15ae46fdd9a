//go:build linux

// Package nfqueue delays the packets that leave a pod on kernels without
// netem, with NET_ADMIN and nothing else.
//
// The kernel holds the packets. This process only sees their ids and says when
// they may go:
//
//	          table tidelay, chain postrouting
//	packet ──► exempt? ──no──► queue 2332 ─────────────► device
//	              │               │    ▲
//	              │            id │    │ accept all up to this id
//	              │               ▼    │
//	              │          ring of deadlines
//	              └─────yes───────────────────────────► device
//
// With one delay for all, packets leave in the order in which they came. So
// one verdict releases everything that is due, and one timer does for all.
//
// The rule is the fault: its comment keeps name and delay, so that an agent
// that was killed finds its fault again and `nft list ruleset` shows it. While
// nobody reads the queue the rule lets packets pass (bypass). A queue without
// room lets them pass too (fail-open).
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
//	                      └──► copy ──► output and postrouting again ──► unmark ──► queue 2332
//
// Queue 2333 is bound without a copy mode. The kernel frees what such a queue
// is given and tells the sender that all went well, whereas a drop rule would
// make TCP believe that it could not send. Without an agent the original
// passes and the copy is dropped. SYN packets are held themselves, since
// connection tracking takes up a connection when its first packet leaves.
//
// # Limits
//
//   - A UDP socket pays for what waits out of its send buffer. With the default
//     of 208 KiB it has 256 small datagrams, or 93 of full size, on the way;
//     then it blocks.
//   - TCP packets that carry a mark of their own (SO_MARK) are held themselves,
//     at the speed that small queues allow.
//   - Other tables of the pod meet each copy as a second, untracked packet.
//   - What waits when the reader is killed is lost, and so is what waits when
//     somebody removes a netfilter hook in the pod (nf_queue_nf_hook_drop).
package nfqueue
