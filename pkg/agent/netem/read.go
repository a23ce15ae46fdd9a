package netem

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// port reads what stands on a device.
func (c *conn) port(device string) (port, error) {
	index, err := c.index(device)
	if err != nil {
		return port{}, fmt.Errorf("read %s: %w", device, err)
	}
	p, err := c.readPort(device, index)
	if err != nil {
		return port{}, fmt.Errorf("read %s: %w", device, err)
	}
	return p, nil
}

func (c *conn) readPort(device string, index int) (port, error) {
	p := port{
		egress:  tree{place: place{device, fault.Egress}, link: device, netems: make(map[uint8]emulator), led: true},
		ingress: tree{place: place{device, fault.Ingress}, link: ifbName(index), netems: make(map[uint8]emulator)},
	}
	qdiscs, err := c.readRoot(&p.egress, index)
	if err != nil {
		return port{}, err
	}
	ifb, err := c.readIFB(&p.ingress)
	if err != nil {
		return port{}, err
	}
	i := slices.IndexFunc(qdiscs, func(q qdisc) bool { return q.parent == parentIngress })
	if i < 0 {
		return p, nil
	}
	filters, err := c.filters(index, handleIngress)
	p.hook = hookOf(qdiscs[i], filters, ifb, p.egress.marked)
	p.ingress.led = p.ingress.ifb && p.ingress.ifbUp && p.hook.leads()
	return p, err
}

// readIFB reads our ifb and returns its index, 0 if there is none.
func (c *conn) readIFB(t *tree) (int, error) {
	link, err := c.link(t.link)
	switch {
	case errors.Is(err, unix.ENODEV):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("find %s: %w", t.link, err)
	case link.Type() != "ifb":
		t.taken = fmt.Sprintf("link %s of type %s", t.link, link.Type())
		return 0, nil
	}
	index := link.Attrs().Index
	t.ifb, t.ifbUp = true, link.Attrs().RawFlags&unix.IFF_UP != 0
	if _, err := c.readRoot(t, index); err != nil {
		return 0, err
	}
	if t.taken != "" { // whatever is on our own link would go with it
		t.taken, t.invaded = "", t.taken+" on "+t.link
	}
	return index, nil
}

// hookOf tells whose an ingress qdisc is. It is ours when nothing is on it but
// redirects to our ifb; one without any is when our ifb is there or our root
// says so.
func hookOf(q qdisc, filters []u32, ifb int, marked bool) hook {
	var h hook
	redirects, others := false, ""
	for _, f := range filters {
		if f.table {
			continue
		}
		family, index := f.redirection()
		switch index {
		case 0: // what the kernel writes for a link that is gone
			h.broken[family], redirects = true, true
		case ifb:
			h.redirects[family], redirects = true, true
		default:
			others = fmt.Sprintf("%s on qdisc %s", f, q)
		}
	}
	switch {
	case redirects && others != "":
		h.invaded = others
	case q.kind == kindIngress && others == "" && (redirects || ifb != 0 || marked):
		h.present = true
	default:
		h.taken = "qdisc " + q.String()
	}
	return h
}

// readRoot reads the root of a link and what is below it. It returns all qdiscs
// of the link.
func (c *conn) readRoot(t *tree, index int) ([]qdisc, error) {
	all, err := c.qdiscs(index)
	if err != nil {
		return nil, err
	}
	for _, q := range all {
		if err := t.attach(q); err != nil {
			return nil, err
		}
	}
	if !t.root {
		return all, nil
	}
	filters, err := c.filters(index, handleRoot)
	for _, f := range filters {
		t.addFilter(f)
	}
	return all, err
}

// attach puts a qdisc where it belongs in the tree, if it does. A handle of 0
// is the kernel's own default, which nobody chose.
func (t *tree) attach(q qdisc) error {
	major, band := q.parent>>16, uint8(q.parent)
	switch {
	case q.handle == 0:
	case q.parent == parentRoot && q.kind == kindPrio && q.handle == handleRoot:
		t.root, t.fits = true, bytes.Equal(q.options, prioOptions())
	case q.parent == parentRoot:
		t.taken = "root qdisc " + q.String()
	case q.parent == class(bandClean) && q.kind == kindFIFO && q.handle == handleClean:
		t.clean = bytes.Equal(q.options, fifoOptions())
	case major == handleRoot>>16 && q.isNetemOf(band):
		s, err := decode(q.options)
		if err != nil {
			return err
		}
		t.netems[band] = emulator{handle: q.handle, setting: s, counters: q.counters}
	case ownMajor(major):
		t.invaded = fmt.Sprintf("qdisc %s inside %s", q, handleWord(handleRoot))
	}
	return nil
}

func (q qdisc) isNetemOf(band uint8) bool {
	return q.kind == kindNetem && (q.handle == netemHandle(band) || q.handle == handleOld)
}

// ownMajor reports whether a qdisc of ours has, or had, this major number.
func ownMajor(major uint32) bool {
	return major == handleRoot>>16 || major == handleOld>>16 || major >= netemHandle(bandFirst)>>16 && major <= netemHandle(bandLast)>>16
}

// addFilter puts a filter where it belongs in the tree. Beside the netem of
// earlier releases, filters have nodes that the kernel numbered.
func (t *tree) addFilter(u u32) {
	if u.table {
		return
	}
	index, f, known := blockOf(u.priority)
	if u.priority == priority(markBlock, ipv4) && u.simple && u.node == firstNode && u.classID == class(bandClean) && u.keys.equal(mark().keys) {
		t.marked = true
		return
	}
	ours := known && u.simple && u.protocol == f.protocol() && u.classID>>16 == handleRoot>>16 && (u.node <= lastNode || t.netems[bandFirst].handle == handleOld)
	if !ours {
		t.invaded = fmt.Sprintf("%s on %s", u, handleWord(handleRoot))
		return
	}
	i, found := slices.BinarySearchFunc(t.blocks[f], index, func(b block, index int) int { return cmp.Compare(b.index, index) })
	if !found {
		t.blocks[f] = slices.Insert(t.blocks[f], i, block{index: index})
	}
	t.blocks[f][i].filters = append(t.blocks[f][i].filters, filter{keys: u.keys, band: uint8(u.classID)})
}

// filters returns those on one qdisc in the order they are tried.
func (c *conn) filters(index int, parent uint32) ([]u32, error) {
	messages, err := c.dump(unix.RTM_GETTFILTER, unix.RTM_NEWTFILTER, *tcMsg(index, parent, 0, 0))
	if err != nil {
		return nil, fmt.Errorf("list filters: %w", err)
	}
	var found []u32
	for _, message := range messages {
		f, err := parseFilter(message)
		if err != nil {
			return nil, err
		}
		found = append(found, f)
	}
	return found, nil
}

// waiting returns how many packets some bands of a tree hold.
func (c *conn) waiting(t tree, bands []uint8) (uint64, error) {
	index, err := c.index(t.link)
	if err != nil {
		return 0, err
	}
	all, err := c.qdiscs(index)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", t.place, err)
	}
	var packets uint64
	for _, q := range all {
		if q.kind == kindNetem && slices.ContainsFunc(bands, func(b uint8) bool { return class(b) == q.parent }) {
			packets += q.counters.Backlog
		}
	}
	return packets, nil
}
