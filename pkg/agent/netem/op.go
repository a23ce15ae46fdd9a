package netem

import "fmt"

// op is one change of the kernel's state, made by one request and therefore
// all or nothing. String returns the command that does the same.
type op interface{ String() string }

// setQdisc makes a qdisc what stands at its parent. One of the same handle is
// changed in place and keeps the packets it holds.
type setQdisc struct {
	link, kind     string
	parent, handle uint32
	options        []byte  // TCA_OPTIONS; nil for none
	words          string  // the options in tc's words
	netem          setting // of a netem
	// fresh refuses to replace what somebody chose.
	fresh bool
}

func (o setQdisc) String() string {
	verb := "replace"
	if o.fresh {
		verb = "add"
	}
	if o.kind == kindIngress {
		return fmt.Sprintf("tc qdisc %s dev %s ingress", verb, o.link)
	}
	text := fmt.Sprintf("tc qdisc %s dev %s %s handle %s %s", verb, o.link, parentWord(o.parent), handleWord(o.handle), o.kind)
	if o.words != "" {
		text += " " + o.words
	}
	return text
}

// deleteQdisc removes a qdisc with all below it and all that waits in it.
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

func parentWord(parent uint32) string {
	if parent == parentRoot {
		return "root"
	}
	return "parent " + handleWord(parent)
}

// addFilter puts a filter into a block, behind those with lower nodes.
type addFilter struct {
	link   string
	block  int
	family family
	node   uint32
	filter filter
}

func (o addFilter) String() string {
	return fmt.Sprintf("tc filter add dev %s parent %s protocol %s prio %d handle ::%x u32 %s flowid %s",
		o.link, handleWord(handleRoot), o.family, priority(o.block, o.family), o.node, o.filter.keys.words(), handleWord(class(o.filter.band)))
}

// deleteBlock takes away the filters of one family of a block, all at once.
type deleteBlock struct {
	link   string
	block  int
	family family
}

func (o deleteBlock) String() string {
	return fmt.Sprintf("tc filter del dev %s parent %s protocol %s prio %d", o.link, handleWord(handleRoot), o.family, priority(o.block, o.family))
}

// addIFB makes the link that arriving packets of a device pass. It gets the
// device's MTU for whoever looks; redirected packets are not measured by it.
type addIFB struct{ link, device string }

func (o addIFB) String() string {
	return fmt.Sprintf("ip link add %s txqueuelen %d type ifb", o.link, ifbQueue)
}

// setUp brings a link up.
type setUp struct{ link string }

func (o setUp) String() string { return fmt.Sprintf("ip link set dev %s up", o.link) }

// deleteLink removes a link with its qdiscs.
type deleteLink struct{ link string }

func (o deleteLink) String() string { return fmt.Sprintf("ip link del dev %s", o.link) }

// addRedirect leads the packets of one family that arrive at a device to an
// ifb.
type addRedirect struct {
	device, ifb string
	family      family
}

func (o addRedirect) String() string {
	return fmt.Sprintf("tc filter add dev %s parent %s protocol %s prio %d handle ::%x u32 match u32 0 0 action mirred egress redirect dev %s",
		o.device, handleWord(handleIngress), o.family, priority(0, o.family), firstNode, o.ifb)
}

// deleteRedirect takes the redirect of one family away.
type deleteRedirect struct {
	device string
	family family
}

func (o deleteRedirect) String() string {
	return fmt.Sprintf("tc filter del dev %s parent %s protocol %s prio %d", o.device, handleWord(handleIngress), o.family, priority(0, o.family))
}
