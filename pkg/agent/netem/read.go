package netem

import (
	"bytes"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// hookOf decides whose an ingress qdisc is. ifb is the index of our ifb, 0 for
// none. The qdisc is ours
//
//   - if all filters on it are redirects to our ifb, and there is one;
//   - if it has no filters but perhaps the claim, and our ifb, or a claim here or on
//     our root (claimed), is there.
func hookOf(q qdisc, filters []u32, ifb int, claimed bool) hook {
	var h hook
	redirects, others := false, ""
	for _, f := range filters {
		if f.isTable {
			continue
		}
		if f.isClaim() {
			h.claimed = true
			continue
		}
		family, index := f.redirection()
		switch index {
		case 0: // the ifb is gone
			h.broken[family], redirects = true, true
		case ifb:
			h.redirects[family], redirects = true, true
		default:
			others = fmt.Sprintf("%s on qdisc %s", f, q)
		}
	}
	switch {
	case redirects && others != "":
		h.foreignInside = others
	case q.kind == kindIngress && others == "" && (redirects || ifb != 0 || claimed || h.claimed):
		h.present = true
	default:
		h.occupiedBy = "qdisc " + q.String()
	}
	return h
}

// addQdisc adds a qdisc of the link to what was found of the tree. Those with a
// handle of 0 are the kernel's own defaults, which nobody chose.
func (t *foundTree) addQdisc(q qdisc) error {
	band := bandOf(q.parent)
	switch {
	case q.handle == 0:
	case q.isOurRoot():
		t.hasRoot, t.rootIsCurrent = true, bytes.Equal(q.options, prioOptions())
	case q.parent == parentRoot:
		t.occupiedBy = "root qdisc " + q.String()
	case q.parent == class(bandClean) && q.kind == kindFIFO && q.handle == handleClean:
		t.hasCleanBand = bytes.Equal(q.options, fifoOptions())
	case q.isSegmenterOf(band):
		return t.addSegmenter(q, band)
	case q.isNetemOf(band):
		return t.addNetem(q, band)
	case isOurMajor(q.parent >> 16):
		t.foreignInside = fmt.Sprintf("qdisc %s inside %s", q, handleWord(handleRoot))
	}
	return nil
}

// addNetem adds the netem of a band. Its segmenter can have come before.
func (t *foundTree) addNetem(q qdisc, band uint8) error {
	s, err := decode(q.options)
	t.netems[band] = netemQdisc{handle: q.handle, setting: s, burst: t.netems[band].burst, counters: q.counters}
	return err
}

// addSegmenter adds the segmenter of a band. Its netem can have come before.
func (t *foundTree) addSegmenter(q qdisc, band uint8) error {
	n := t.netems[band]
	var err error
	n.burst, err = decodeSegmenter(q.options)
	t.netems[band] = n
	return err
}

// bandOf returns the band whose class or whose segmenter's class a parent is; 0
// for any other parent.
func bandOf(parent uint32) uint8 {
	switch {
	case parent>>16 == handleRoot>>16:
		return uint8(parent)
	case isSegmenterMajor(parent>>16) && parent&0xffff == 1:
		return uint8(parent >> 16)
	default:
		return 0
	}
}

func isSegmenterMajor(major uint32) bool {
	return major >= segmenterHandle(bandFirst)>>16 && major <= segmenterHandle(bandLast)>>16
}

// isSegmenterOf reports whether a qdisc is our segmenter of a band.
func (q qdisc) isSegmenterOf(band uint8) bool {
	return band != 0 && q.kind == kindTBF && q.parent == class(band) && q.handle == segmenterHandle(band)
}

// isOurRoot reports whether a qdisc is the root of a tree of ours.
func (q qdisc) isOurRoot() bool {
	return q.parent == parentRoot && q.kind == kindPrio && q.handle == handleRoot
}

// isNetemOf reports whether a qdisc is our netem of a band.
func (q qdisc) isNetemOf(band uint8) bool {
	return band != 0 && q.kind == kindNetem && q.handle == netemHandle(band)
}

// isOurMajor reports whether a handle's major number is one that we give.
func isOurMajor(major uint32) bool {
	return major == handleRoot>>16 || isSegmenterMajor(major) || major >= netemHandle(bandFirst)>>16 && major <= netemHandle(bandLast)>>16
}

// filters returns those on one qdisc, in the order in which the kernel tries
// them.
func (c *conn) filters(index int, parent uint32) ([]u32, error) {
	messages, err := c.dump(unix.RTM_GETTFILTER, unix.RTM_NEWTFILTER, tcMsg(index, parent, 0, 0))
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

// waiting returns how many packets wait in the netems of some bands.
func (c *conn) waiting(t foundTree, bands []uint8) (uint64, error) {
	index, err := c.index(t.link)
	if err != nil {
		return 0, err
	}
	all, err := c.allQdiscs()
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", t.attachPoint, err)
	}
	var packets uint64
	for _, q := range all[index] {
		if q.kind == kindNetem && slices.Contains(bands, bandOf(q.parent)) {
			packets += q.counters.Backlog
		}
	}
	return packets, nil
}
