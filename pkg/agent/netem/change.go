package netem

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// do makes one change. Its error names the change as a command, unless it
// already says what the kernel lacks.
func (c *conn) do(o op) error {
	err := c.send(o)
	if err == nil || errors.Is(err, fault.ErrUnsupported) {
		return err
	}
	return fmt.Errorf("%s: %w", o, err)
}

// send makes one change and says what an error of it means.
func (c *conn) send(o op) error {
	switch o := o.(type) {
	case setQdisc:
		return c.setQdisc(o)
	case setNetem:
		return c.setQdisc(setQdisc{link: o.link, kind: kindNetem, parent: netemParent(o.band, o.segmented), handle: o.handle, options: o.setting.encode()})
	case setSegmenter:
		return c.setQdisc(setQdisc{link: o.link, kind: kindTBF, parent: class(o.band), handle: segmenterHandle(o.band), options: o.encode()})
	case deleteQdisc:
		return c.onLink(o.link, func(index int) error {
			return c.request(unix.RTM_DELQDISC, 0, tcMsg(index, o.parent, o.handle, 0))
		})
	case addRedirect:
		return c.addRedirect(o)
	case addHookClaim:
		return c.newFilter(o.device, handleIngress, firstNode, filterInfo(priority(claimBlock, ipv4), ipv4), encodeFilter(claim(), 0), u32Lacking)
	case deleteRedirect:
		return c.deleteFilters(o.device, handleIngress, priority(0, o.family), o.family)
	case addIFB:
		return c.addIFB(o)
	case setUp:
		return c.onLink(o.link, func(index int) error { return netlink.LinkSetUp(linkOf(index)) })
	case deleteLink:
		return c.onLink(o.link, func(index int) error { return netlink.LinkDel(linkOf(index)) })
	default:
		return c.changeBlock(o)
	}
}

// changeBlock makes one change of the filters on a root.
func (c *conn) changeBlock(o op) error {
	switch o := o.(type) {
	case addFilter:
		return c.addFilter(o)
	case addTable:
		return c.addTable(o)
	case addLink:
		return c.newFilter(o.link, handleRoot, o.node, filterInfo(priority(o.block, o.family), o.family), encodeLink(o), u32Lacking)
	case deleteTable:
		return c.deleteTable(o)
	case deleteBlock:
		return c.deleteFilters(o.link, handleRoot, priority(o.block, o.family), o.family)
	default:
		return fmt.Errorf("unknown change %T", o)
	}
}

// onLink calls change with the index of a link.
func (c *conn) onLink(link string, change func(index int) error) error {
	index, err := c.index(link)
	if err != nil {
		return err
	}
	return change(index)
}

func (c *conn) setQdisc(o setQdisc) error {
	return c.onLink(o.link, func(index int) error {
		flags := unix.NLM_F_CREATE | unix.NLM_F_REPLACE
		if o.exclusive {
			flags = unix.NLM_F_CREATE | unix.NLM_F_EXCL
		}
		attrs := []nl.NetlinkRequestData{kindAttr(o.kind)}
		if o.options != nil {
			attrs = append(attrs, nl.NewRtAttr(nl.TCA_OPTIONS, o.options))
		}
		err := c.request(unix.RTM_NEWQDISC, flags, tcMsg(index, o.parent, o.handle, 0), attrs...)
		return unsupported(foreignIfExists(err), unix.ENOENT, fmt.Sprintf("the kernel has no qdisc %s (sch_%s)", o.kind, o.kind))
	})
}

func (c *conn) addFilter(o addFilter) error {
	bucket := tableHandle(o.table, o.bucket)
	return c.newFilter(o.link, handleRoot, bucket|o.node, filterInfo(priority(o.block, o.family), o.family), encodeFilter(o.filter, bucket), u32Lacking)
}

// addTable adds a hash table. An agent that was killed can have left one, which is
// not reported while its block is not there.
func (c *conn) addTable(o addTable) error {
	add := func() error {
		return c.newFilter(o.link, handleRoot, tableHandle(o.table, 0), filterInfo(priority(o.block, o.family), o.family), encodeTable(), u32Lacking)
	}
	err := add()
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL) {
		if c.deleteTable(deleteTable(o)) == nil {
			err = add()
		}
	}
	return err
}

// The kernel frees a filter some time after it was deleted (u32_delete_key_work in
// net/sched/cls_u32.c). Till then the table to which it led counts as used.
const (
	tableFreeTime     = time.Second
	tableFreeInterval = time.Millisecond
)

// deleteTable deletes a hash table, and waits until nothing uses it. That there is
// none is no error: the last filter of the root takes them along.
func (c *conn) deleteTable(o deleteTable) error {
	return c.onLink(o.link, func(index int) error {
		poll := time.NewTicker(tableFreeInterval)
		defer poll.Stop()
		for deadline := time.Now().Add(tableFreeTime); ; <-poll.C {
			err := c.request(unix.RTM_DELTFILTER, 0, tcMsg(index, handleRoot, tableHandle(o.table, 0), filterInfo(priority(o.block, o.family), o.family)), kindAttr(kindU32))
			switch {
			case errors.Is(err, unix.ENOENT):
				return nil
			case !errors.Is(err, unix.EBUSY) || time.Now().After(deadline):
				return err
			}
		}
	})
}

// What a kernel lacks that refuses a filter.
const (
	u32Lacking      = "the kernel has no filter u32 (cls_u32)"
	redirectLacking = "the kernel has no filter u32 with action mirred (cls_u32, act_mirred)"
)

// newFilter adds a filter of kind u32.
func (c *conn) newFilter(link string, parent, node, info uint32, options *nl.RtAttr, lacking string) error {
	return c.onLink(link, func(index int) error {
		err := c.request(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL, tcMsg(index, parent, node, info), kindAttr(kindU32), options)
		return unsupported(err, unix.ENOENT, lacking)
	})
}

// deleteFilters deletes all filters of one priority: a message that names no
// node is about all of them.
func (c *conn) deleteFilters(link string, parent uint32, priority uint16, f family) error {
	return c.onLink(link, func(index int) error {
		return c.request(unix.RTM_DELTFILTER, 0, tcMsg(index, parent, 0, filterInfo(priority, f)))
	})
}

func (c *conn) addRedirect(o addRedirect) error {
	ifb, err := c.index(o.ifb)
	if err != nil {
		return err
	}
	return c.newFilter(o.device, handleIngress, firstNode, filterInfo(priority(0, o.family), o.family), encodeRedirect(ifb), redirectLacking)
}

func (c *conn) addIFB(o addIFB) error {
	device, err := c.link(o.device)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.TxQLen = o.link, device.Attrs().MTU, ifbQueue
	err = netlink.LinkAdd(&netlink.Ifb{LinkAttrs: attrs})
	return unsupported(foreignIfExists(err), unix.EOPNOTSUPP, "the kernel has no link type ifb")
}

// linkOf returns a link for calls that only look at its index.
func linkOf(index int) netlink.Link { return &netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Index: index}} }

// foreignIfExists explains EEXIST: nothing was there when the kernel was read,
// so somebody else has added something since.
func foreignIfExists(err error) error {
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: %w", fault.ErrForeign, err)
	}
	return err
}

// unsupported adds fault.ErrUnsupported, and what is lacking, to the error with
// which the kernel says that it has no such module: ENOENT for qdiscs, filters
// and actions, EOPNOTSUPP for links. Its text alone, "no such file or
// directory", would send people looking for a file.
//
// The kernel uses the same number for other problems. It is taken to mean a
// missing module if the kernel's reason says so, or if there is no reason, as
// with old kernels.
func unsupported(err error, number unix.Errno, lacking string) error {
	if !errors.Is(err, number) {
		return err
	}
	text := err.Error()
	about := func(reason string) bool { return strings.Contains(text, reason) }
	if text == number.Error() || about("kind is unknown") || about("classifier not found") || about("action module") || about("Unknown device type") {
		return fmt.Errorf("%s: %w (%w)", lacking, fault.ErrUnsupported, err)
	}
	return err
}
