//go:build linux

// Package nfqueue applies faults to the packets that leave and arrive at a pod,
// on kernels without netem. It needs the capability NET_ADMIN and nothing else.
//
// The kernel keeps the packets in netfilter queues. This process sees only their
// ids, and answers with verdicts: a packet may leave, or is dropped.
//
//	          table tidelay, chain postrouting (egress) or prerouting (ingress)
//	packet ──► exempt? ──no──► first rule that matches ──► chain of its fault
//	              │                                             │
//	              │                     queue 2340.. or 2360.. of the fault ─────► on
//	              │                                     │    ▲
//	              │                                  id │    │ verdict
//	              │                                     ▼    │
//	              │                               scheduler: emulator, ring, heap
//	              └─────yes──────────────────────────────────────────────────────► on
//
// Each fault has a queue of its own in each direction. With a constant delay,
// packets leave in the order of their arrival, and one batch verdict releases all
// that are due. With anything random or a rate, each packet has its own deadline
// in a heap and its own verdict; many verdicts go in one system call. One timer
// serves all queues.
//
// The rules in the kernel are the record of the faults. Their comments have the
// fault's name and a digest, so that the agent finds its faults again after it
// was killed, and `nft list ruleset` shows them. A queue without a reader lets
// packets pass (bypass), and so does a queue that is full (fail-open).
//
// # Changes
//
// A change of the rules is one nftables transaction that never removes a hook.
// A rule that stays the same is not written, so it goes on counting, also when its
// fault gets another delay. The queue of an unchanged fault stays as it is. The waiting packets of a fault that ends leave
// before its rules go, in order; those that arrived meanwhile leave right after.
// If a delay gets shorter or a rate higher, packets that wait already leave no
// later than packets that arrive now. If the kernel refuses a part of a change,
// the rest is undone.
//
// The rules count packets and bytes. The scheduler counts everything else.
//
// The chains see addresses and ports as they are on the wire, after source NAT and
// before destination NAT. So a port that is redirected inside the pod is the one
// that its peer knows, and the control port is exempt whatever NAT makes of it.
//
// # Copies
//
// A TCP socket may have only about a millisecond of data in the layers below it
// (TCP small queues, tcp_small_queue_check in net/ipv4/tcp_output.c), and packets
// in a netfilter queue count. Under a delay of 20 ms one stream would fall from
// gigabits to 2 Mbit/s. netem takes the packet from its socket to avoid that
// (skb_orphan_partial). Rules can't do this, but a copy of a packet belongs to no
// socket. Therefore each TCP packet is copied. The original is dropped, and the
// copy, which has a mark, is delayed:
//
//	packet ──► mark, dup, unmark ──► queue 2333, dropped
//	                  └──► copy ──► output and postrouting again ──► unmark ──► queue 2340
//
// What the kernel itself sends is copied too: replies and errors of ICMP and
// ICMPv6, resets and ACKs of closed connections, SYN-ACKs. Its sockets are one for
// each CPU, shared by all network namespaces (icmp_sk_init in net/ipv4/icmp.c,
// tcp_sk_init in net/ipv4/tcp_ipv4.c). They have room for some hundreds of
// packets. If those of one pod waited, no pod of the node would answer a ping.
// Multicast listener reports and IGMP wait themselves: they belong to a socket of
// the pod's own, and to none.
//
// A copy travels like its original. It goes to the original's next hop, which
// may depend on rules and on the source (the kernel routes a copy by the address
// that dup is given, nf_dup_ipv4_route in net/ipv4/netfilter/nf_dup_ipv4.c). And
// the DF flag that the kernel sets in it is taken away if the original had none: by
// a rule, or on Linux 7.2, which lets no rule write there, by this process, which
// gets such copies from queue 2335 and has them meet the rules again.
//
// But a copy has no socket and is unknown to connection tracking. A firewall of
// the pod that looks at these could stop it, and so could a routing table that
// does not know the gateway; obstacles.go finds them. Then the TCP packets of
// processes wait themselves, slowly, and what the kernel itself sends passes
// without a delay, since it must never wait itself. Warnings says so.
//
// Queue 2333 is the sink. It is bound without a copy mode. The kernel drops the
// packets of such a queue and reports success, whereas a drop rule would make TCP
// believe that it could not send. Without an agent the original passes and the
// copy is dropped.
//
// SYN packets and echo requests are delayed without a copy, since connection
// tracking confirms a connection when its first packet leaves. So are arriving packets, since they
// belong to no socket yet.
//
// A partition leads to queue 2333 too, so that its sender sees no error.
//
// # Limits
//
//   - Waiting packets of a UDP socket count against its send buffer. With the
//     default of 208 KiB a socket can have 256 small datagrams waiting, or 93 of
//     full size. Then it blocks.
//   - TCP packets with a mark of their own (SO_MARK) are delayed without a copy,
//     at the speed that small queues allow.
//   - ICMP replies of more than 2048 bytes pass without a delay; see copyRules.
//   - Copies are not encrypted by IPsec policies of the pod, nor encapsulated by its
//     routes.
//   - A rate and a loss work on the packets that the kernel hands over. For TCP
//     that can be a segment of 64 KiB, which the kernel cuts up later.
//   - Ports are known in the first fragment of a packet only. The other fragments
//     meet a fault that names no port, or none.
//   - In a user namespace of its own, a pod gets socket buffers of at most
//     net.core.rmem_max. If the agent then gets no processor time, packets pass
//     sooner. A set of hundreds of peers and ports can be refused.
//   - Waiting packets are lost when the agent is killed, and when somebody removes
//     a netfilter hook in the pod (nf_queue_nf_hook_drop in
//     net/netfilter/nf_queue.c).
package nfqueue
