package netem

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Handles of the tree, fixed so that it is recognised as ours after a crash
// and by people in `tc qdisc show`.
const (
	handleRoot  uint32 = 0x7de1 << 16
	handleClean uint32 = 0x7de3 << 16
	// handleOld is the only netem of releases whose root had two bands.
	handleOld uint32 = 0x7de2 << 16
	// handleIngress is what the kernel gives every ingress and clsact qdisc,
	// and parentIngress where they are (TC_H_INGRESS, TC_H_CLSACT).
	handleIngress uint32 = 0xffff << 16
	parentIngress uint32 = 0xfffffff1
	parentRoot    uint32 = 0xffffffff
)

// Kinds of qdiscs.
const (
	kindPrio    = "prio"
	kindFIFO    = "pfifo"
	kindNetem   = "netem"
	kindIngress = "ingress"
)

// Bands of the root, counted from 1 as their classes are.
const (
	bandClean = 1
	bandFirst = 2
	bandLast  = 1 + fault.MaxFaults
)

// netemHandle is the handle of a band's netem.
func netemHandle(band uint8) uint32 { return (0x7e00 + uint32(band)) << 16 }

// class is the class of the root that a band is.
func class(band uint8) uint32 { return handleRoot | uint32(band) }

// handleWord writes a handle as tc does.
func handleWord(handle uint32) string {
	if handle&0xffff == 0 {
		return fmt.Sprintf("%x:", handle>>16)
	}
	return fmt.Sprintf("%x:%x", handle>>16, handle&0xffff)
}

// An IP family of filters; the kernel keeps them apart.
type family int

const (
	ipv4 family = iota
	ipv6
	families
)

// protocol is the family's EtherType, in host byte order.
func (f family) protocol() uint16 {
	if f == ipv6 {
		return unix.ETH_P_IPV6
	}
	return unix.ETH_P_IP
}

// String returns tc's word for it.
func (f family) String() string {
	if f == ipv6 {
		return "ipv6"
	}
	return "ip"
}

// Filter priorities. A list of filters is a block, and a block has one
// priority for each family: the kernel wants one protocol per priority. Two
// blocks alternate; there are more for what a killed agent leaves.
const (
	blocks        = 4
	firstPriority = 1
	lastPriority  = firstPriority + blocks*int(families) - 1
)

// priority of a block's filters of one family; a lower one is tried earlier.
func priority(block int, f family) uint16 {
	return uint16(firstPriority + block*int(families) + int(f))
}

// blockOf is the inverse of priority.
func blockOf(priority uint16) (int, family, bool) {
	n := int(priority) - firstPriority
	if n < 0 || int(priority) > lastPriority {
		return 0, 0, false
	}
	return n / int(families), family(n % int(families)), true
}

// markBlock has the one filter on the root of an egress tree that matches
// nothing and says that the ingress qdisc of the interface is ours too.
const markBlock = blocks

// Filters of one priority are tried in the order of their node numbers, which
// are ours up to lastNode. From 0x800 the kernel numbers filters that were
// added without one.
const (
	firstNode uint32 = 1
	lastNode  uint32 = 0x7ff
)

// maxFilters is how many filters one tree may have, for all faults and
// exemptions together. A packet is compared with one after the other.
const maxFilters = 2_000

// cleanLimit is the clean band's queue in packets. It is set because the
// kernel would otherwise take the interface's txqueuelen, which is 0 on many
// container interfaces and leaves room for a single packet.
const cleanLimit = 1_000

// ifbName names the ifb of the interface with an index. It fits IFNAMSIZ, and
// no two indexes share one.
func ifbName(index int) string {
	const prefix, longest = "tidelay", 99_999_999 // eight digits are left
	if index > longest {
		return prefix + "x" + strconv.FormatInt(int64(index), 36)
	}
	return prefix + strconv.Itoa(index)
}

// ifbQueue is the txqueuelen of our ifb. From so many packets on, it stops its
// queue and the prio holds the others.
const ifbQueue = 1_000

// prioOptions is struct tc_prio_qopt (include/uapi/linux/pkt_sched.h): all
// bands, and every packet that no filter matches in the first, whatever its
// TOS says.
func prioOptions() []byte {
	const priomap = 16
	options := binary.NativeEndian.AppendUint32(nil, bandLast)
	return append(options, make([]byte, priomap)...)
}

// fifoOptions is struct tc_fifo_qopt.
func fifoOptions() []byte {
	return binary.NativeEndian.AppendUint32(nil, cleanLimit)
}
