package netem

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Handles of a tree. They never change, so that the agent recognises its trees
// after a crash, and people do in `tc qdisc show`.
const (
	handleRoot  uint32 = 0x7de1 << 16
	handleClean uint32 = 0x7de3 << 16
	// handleIngress is the handle that every ingress and clsact qdisc gets from
	// the kernel. parentIngress is their parent (TC_H_INGRESS, TC_H_CLSACT), and
	// parentRoot that of a root (TC_H_ROOT).
	handleIngress uint32 = 0xffff << 16
	parentIngress uint32 = 0xfffffff1
	parentRoot    uint32 = 0xffffffff
)

// Kinds of qdiscs.
const (
	kindPrio    = "prio"
	kindFIFO    = "pfifo"
	kindNetem   = "netem"
	kindTBF     = "tbf"
	kindIngress = "ingress"
)

// Bands of the root, counted from 1, as their classes are: a clean one, and one
// for each fault that there can be.
const (
	bandClean = 1
	bandFirst = 2
	bandLast  = 1 + fault.MaxFaults
)

// netemHandle returns the handle of a band's netem.
func netemHandle(band uint8) uint32 { return (0x7e00 + uint32(band)) << 16 }

// class returns the class of a band: the root's handle with the band's number.
func class(band uint8) uint32 { return handleRoot | uint32(band) }

// netemParent returns where the netem of a band is: in the band's class, or below
// the band's segmenter.
func netemParent(band uint8, segmented bool) uint32 {
	if segmented {
		return segmenterHandle(band) | 1
	}
	return class(band)
}

// handleWord writes a handle or class as tc does, in hexadecimal.
func handleWord(handle uint32) string {
	if handle&0xffff == 0 {
		return fmt.Sprintf("%x:", handle>>16)
	}
	return fmt.Sprintf("%x:%x", handle>>16, handle&0xffff)
}

// family is the IP family of a filter. The kernel keeps the filters of one apart
// from those of the other.
type family int

const (
	ipv4 family = iota
	ipv6
	families
)

// protocol returns the family's EtherType, in host byte order.
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

// Priorities of filters. A block of filters has one priority for each family,
// because the kernel allows one protocol per priority. Usually two blocks take
// turns. There are more because an agent that is killed can leave one.
const (
	maxBlocks     = 4
	firstPriority = 1
	lastPriority  = firstPriority + maxBlocks*int(families) - 1
)

// priority returns that of a block's filters of one family. The kernel tries
// filters of a lower priority first.
func priority(block int, f family) uint16 {
	return uint16(firstPriority + block*int(families) + int(f))
}

// blockOf is the inverse of priority. It reports false for a priority that is
// not of a block.
func blockOf(priority uint16) (int, family, bool) {
	n := int(priority) - firstPriority
	if n < 0 || int(priority) > lastPriority {
		return 0, 0, false
	}
	return n / int(families), family(n % int(families)), true
}

// claimBlock has only the claim; see claim. Its priority is behind those of the
// blocks.
const claimBlock = maxBlocks

// The kernel tries filters of one priority in the order of their node numbers,
// which go up to 0xfff. To filters that are added without a number it gives the
// lowest free one from unnumbered on (gen_new_kid in net/sched/cls_u32.c).
const (
	firstNode  uint32 = 1
	unnumbered uint32 = 0x800
)

// nodeNumber returns the number of a filter by its place in its list. It leaves
// out unnumbered, which shows that somebody else added a filter.
func nodeNumber(place int) uint32 {
	number := firstNode + uint32(place)
	if number >= unnumbered {
		number++
	}
	return number
}

// maxFilters is how many filters one family of a tree can have, for all faults and
// exemptions together: the largest set of faults and its exemptions fit. So do the
// numbers, with one for each hash table.
const maxFilters = 0xfff - 1 - tablesPerBlock

// cleanLimit is the clean band's queue in packets. Without it the kernel would
// use the interface's txqueuelen, which is 0 on many container interfaces and
// leaves room for a single packet (fifo_init in net/sched/sch_fifo.c).
const cleanLimit = 1_000

// ifbName returns the name of our ifb for the interface with an index. It fits
// IFNAMSIZ, and no two indexes have the same.
func ifbName(index int) string {
	const longest = 99_999_999 // eight digits are left
	if index > longest {
		return ifbPrefix + "x" + strconv.FormatInt(int64(index), 36)
	}
	return ifbPrefix + strconv.Itoa(index)
}

// ifbPrefix starts the names of our ifbs.
const ifbPrefix = "tidelay"

// parseIFBName is the inverse of ifbName. It reports false for a name that is not
// of an ifb of ours.
func parseIFBName(name string) (index int, ok bool) {
	digits, base := strings.TrimPrefix(name, ifbPrefix), 10
	if rest, found := strings.CutPrefix(digits, "x"); found {
		digits, base = rest, 36
	}
	n, err := strconv.ParseInt(digits, base, 32)
	return int(n), err == nil && ifbName(int(n)) == name
}

// ifbQueue is the txqueuelen of our ifb, in packets. When as many wait in the
// ifb itself, it stops its queue and the others wait in the prio.
const ifbQueue = 1_000

// prioOptions returns struct tc_prio_qopt (include/uapi/linux/pkt_sched.h): all
// bands, and the first one for every packet that no filter matches, whatever its
// TOS is.
func prioOptions() []byte {
	const priomap = 16
	options := binary.NativeEndian.AppendUint32(nil, bandLast)
	return append(options, make([]byte, priomap)...)
}

// fifoOptions returns struct tc_fifo_qopt (include/uapi/linux/pkt_sched.h).
func fifoOptions() []byte {
	return binary.NativeEndian.AppendUint32(nil, cleanLimit)
}
