package netem

import "fmt"

// op is one change of the kernel's state. It is made by one request, so that it
// happens as a whole or not at all. String returns the command that does the
// same.
type op interface{ String() string }

// setQdisc adds a qdisc, or changes the one of the same handle in place. A
// change keeps the packets that wait in it. For a netem see setNetem.
type setQdisc struct {
	link, kind     string
	parent, handle uint32
	options        []byte // TCA_OPTIONS; nil for none
	tcOptions      string // the same as tc writes it
	// exclusive fails if somebody has put a qdisc there.
	exclusive bool
}

func (o setQdisc) String() string {
	verb := "replace"
	if o.exclusive {
		verb = "add"
	}
	if o.kind == kindIngress {
		return fmt.Sprintf("tc qdisc %s dev %s ingress", verb, o.link)
	}
	text := fmt.Sprintf("tc qdisc %s dev %s %s handle %s %s", verb, o.link, parentWord(o.parent), handleWord(o.handle), o.kind)
	if o.tcOptions != "" {
		text += " " + o.tcOptions
	}
	return text
}

// setNetem adds the netem of a band, or changes it in place. A change keeps the
// packets that wait in it, and the delays they got.
type setNetem struct {
	link      string
	band      uint8
	segmented bool // it is below the band's segmenter
	handle    uint32
	setting   setting
}

func (o setNetem) String() string {
	return fmt.Sprintf("tc qdisc replace dev %s %s handle %s netem %s", o.link, parentWord(netemParent(o.band, o.segmented)), handleWord(o.handle), o.setting)
}

// deleteQdisc deletes a qdisc with everything below it and all packets that
// wait there.
type deleteQdisc struct {
	link, kind     string
	parent, handle uint32
}

func (o deleteQdisc) String() string {
	if o.kind == kindIngress {
		return fmt.Sprintf("tc qdisc del dev %s ingress", o.link)
	}
	return fmt.Sprintf("tc qdisc del dev %s %s handle %s", o.link, parentWord(o.parent), handleWord(o.handle))
}

// parentWord writes a parent as tc reads it.
func parentWord(parent uint32) string {
	if parent == parentRoot {
		return "root"
	}
	return "parent " + handleWord(parent)
}

// addFilter adds a filter to a block, behind those with lower node numbers.
type addFilter struct {
	link   string
	block  int
	family family
	// table is the hash table where it is, 0 for none.
	table  uint32
	bucket uint8
	node   uint32
	filter filter
}

func (o addFilter) String() string {
	handle := fmt.Sprintf("::%x u32", o.node)
	if o.table != 0 {
		handle = fmt.Sprintf("%x:%x:%x u32 ht %x:%x:", o.table, o.bucket, o.node, o.table, o.bucket)
	}
	return fmt.Sprintf("tc filter add dev %s parent %s protocol %s prio %d handle %s %s flowid %s",
		o.link, handleWord(handleRoot), o.family, priority(o.block, o.family), handle, o.filter.keys, handleWord(class(o.filter.band)))
}

// addTable adds an empty hash table for a block.
type addTable struct {
	link   string
	block  int
	family family
	table  uint32
}

func (o addTable) String() string {
	return fmt.Sprintf("tc filter add dev %s parent %s protocol %s prio %d handle %x: u32 divisor %d",
		o.link, handleWord(handleRoot), o.family, priority(o.block, o.family), o.table, buckets)
}

// addLink adds a filter to a block that leads all packets to a hash table, and those
// that match nothing there to the filter behind it.
type addLink struct {
	link   string
	block  int
	family family
	node   uint32
	table  uint32
	byteAt int32 // see part
}

func (o addLink) String() string {
	offset, mask := hashKey(o.byteAt)
	return fmt.Sprintf("tc filter add dev %s parent %s protocol %s prio %d handle ::%x u32 match u32 0 0 link %x: hashkey mask 0x%08x at %d",
		o.link, handleWord(handleRoot), o.family, priority(o.block, o.family), o.node, o.table, mask, offset)
}

// deleteTable deletes a hash table that nothing leads to any more. The kernel finds
// it through any block that is there.
type deleteTable struct {
	link   string
	block  int
	family family
	table  uint32
}

func (o deleteTable) String() string {
	return fmt.Sprintf("tc filter del dev %s parent %s protocol %s prio %d handle %x: u32",
		o.link, handleWord(handleRoot), o.family, priority(o.block, o.family), o.table)
}

// deleteBlock deletes the filters of one family of a block, all at once. Its hash
// tables stay.
type deleteBlock struct {
	link   string
	block  int
	family family
}

func (o deleteBlock) String() string {
	return fmt.Sprintf("tc filter del dev %s parent %s protocol %s prio %d", o.link, handleWord(handleRoot), o.family, priority(o.block, o.family))
}

// addIFB adds the link to which the arriving packets of a device are redirected.
// It gets the device's MTU only because people may look at it: redirected
// packets are not checked against it.
type addIFB struct{ link, device string }

func (o addIFB) String() string {
	return fmt.Sprintf("ip link add %s txqueuelen %d type ifb", o.link, ifbQueue)
}

// setUp brings a link up.
type setUp struct{ link string }

func (o setUp) String() string { return fmt.Sprintf("ip link set dev %s up", o.link) }

// deleteLink deletes a link with its qdiscs.
type deleteLink struct{ link string }

func (o deleteLink) String() string { return fmt.Sprintf("ip link del dev %s", o.link) }

// addRedirect redirects the packets of one family that arrive at a device to an
// ifb.
type addRedirect struct {
	device, ifb string
	family      family
}

func (o addRedirect) String() string {
	return fmt.Sprintf("tc filter add dev %s parent %s protocol %s prio %d handle ::%x u32 match u32 0 0 action mirred egress redirect dev %s",
		o.device, handleWord(handleIngress), o.family, priority(0, o.family), firstNode, o.ifb)
}

// addHookClaim adds the claim to the ingress qdisc of a device.
type addHookClaim struct{ device string }

func (o addHookClaim) String() string {
	return fmt.Sprintf("tc filter add dev %s parent %s protocol %s prio %d handle ::%x u32 %s flowid %s",
		o.device, handleWord(handleIngress), ipv4, priority(claimBlock, ipv4), firstNode, claim().keys, handleWord(class(claim().band)))
}

// deleteRedirect deletes the redirect of one family.
type deleteRedirect struct {
	device string
	family family
}

func (o deleteRedirect) String() string {
	return fmt.Sprintf("tc filter del dev %s parent %s protocol %s prio %d", o.device, handleWord(handleIngress), o.family, priority(0, o.family))
}
