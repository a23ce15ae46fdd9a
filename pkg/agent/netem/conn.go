package netem

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
	"github.com/tidelay/tidelay/pkg/fault"
)

// kernel is what the engine reads and changes.
type kernel interface {
	// port reads what stands on a device.
	port(device string) (port, error)
	// waiting returns how many packets some bands of a tree hold.
	waiting(t tree, bands []uint8) (uint64, error)
	// do makes one change. The error wraps fault.ErrUnsupported when the kernel
	// lacks what it takes.
	do(o op) error
	close()
}

// conn is the kernel over one rtnetlink socket, which is that of the network
// namespace the caller is in.
type conn struct {
	sockets map[int]*nl.SocketHandle
	devices map[string]int
}

// dial opens a socket.
func dial(devices []api.Device) (*conn, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE) // to no group
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	c := &conn{sockets: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}, devices: make(map[string]int)}
	for _, d := range devices {
		c.devices[d.Name] = d.Index
	}
	timeout := nl.SocketTimeoutTv
	// Old kernels give no reasons with their errors, and that is all they lack.
	_ = socket.SetExtAck(true)
	if err := errors.Join(socket.SetSendTimeout(&timeout), socket.SetReceiveTimeout(&timeout)); err != nil {
		c.close()
		return nil, fmt.Errorf("set rtnetlink timeout: %w", err)
	}
	return c, nil
}

func (c *conn) close() {
	for _, handle := range c.sockets {
		handle.Close()
	}
}

// index returns the index of a link by its name.
func (c *conn) index(name string) (int, error) {
	if index, known := c.devices[name]; known {
		return index, nil
	}
	link, err := c.link(name)
	if err != nil {
		return 0, fmt.Errorf("find %s: %w", name, err)
	}
	return link.Attrs().Index, nil
}

// link reads a link by its name. It is netlink.LinkByName without a socket of
// its own; the error is unix.ENODEV when there is none.
func (c *conn) link(name string) (netlink.Link, error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	request.Sockets = c.sockets
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	found, err := request.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d links of one name", len(found))
	}
	return netlink.LinkDeserialize(nil, found[0])
}

// request sends one message about tc and waits for the kernel's answer.
func (c *conn) request(message, flags int, head *nl.TcMsg, attrs ...nl.NetlinkRequestData) error {
	request := nl.NewNetlinkRequest(message, flags|unix.NLM_F_ACK)
	request.Sockets = c.sockets
	request.AddData(head)
	for _, attr := range attrs {
		request.AddData(attr)
	}
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// dump returns the messages about one link.
func (c *conn) dump(message int, answer uint16, head nl.TcMsg) ([][]byte, error) {
	messages, err := rtnl.Dump(func() ([][]byte, error) {
		request := nl.NewNetlinkRequest(message, unix.NLM_F_DUMP)
		request.Sockets = c.sockets
		request.AddData(&head)
		return request.Execute(unix.NETLINK_ROUTE, answer)
	})
	var found [][]byte
	for _, m := range messages { // older kernels dump the qdiscs of every interface
		if len(m) >= head.Len() && nl.DeserializeTcMsg(m).Ifindex == head.Ifindex {
			found = append(found, m)
		}
	}
	return found, err
}

// do makes one change.
func (c *conn) do(o op) error {
	var err error
	switch o := o.(type) {
	case setQdisc:
		err = missing(c.setQdisc(o), unix.ENOENT, fmt.Sprintf("the kernel has no qdisc %s (sch_%s)", o.kind, o.kind))
	case deleteQdisc:
		err = c.on(o.link, func(index int) error {
			return c.request(unix.RTM_DELQDISC, 0, tcMsg(index, o.parent, o.handle, 0))
		})
	case addFilter:
		err = missing(c.on(o.link, func(index int) error {
			head := tcMsg(index, handleRoot, o.node, filterInfo(priority(o.block, o.family), o.family))
			return c.request(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL, head, kindAttr(kindU32), encodeFilter(o.filter))
		}), unix.ENOENT, "the kernel has no filter u32 (cls_u32)")
	case deleteBlock:
		err = c.on(o.link, func(index int) error { // without a node it stands for all
			return c.request(unix.RTM_DELTFILTER, 0, tcMsg(index, handleRoot, 0, filterInfo(priority(o.block, o.family), o.family)))
		})
	case addRedirect:
		err = missing(c.redirect(o), unix.ENOENT, "the kernel has no filter u32 with action mirred (cls_u32, act_mirred)")
	case deleteRedirect:
		err = c.on(o.device, func(index int) error {
			return c.request(unix.RTM_DELTFILTER, 0, tcMsg(index, handleIngress, 0, filterInfo(priority(0, o.family), o.family)))
		})
	default:
		err = c.doLink(o)
	}
	switch {
	case errors.Is(err, fault.ErrUnsupported):
		return err // says it all
	case err != nil:
		return fmt.Errorf("%s: %w", o, err)
	default:
		return nil
	}
}

// doLink makes a change of a link.
func (c *conn) doLink(o op) error {
	switch o := o.(type) {
	case addIFB:
		device, err := c.link(o.device)
		if err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.TxQLen = o.link, device.Attrs().MTU, ifbQueue
		return missing(taken(netlink.LinkAdd(&netlink.Ifb{LinkAttrs: attrs})), unix.EOPNOTSUPP, "the kernel has no link type ifb")
	case setUp:
		return c.on(o.link, func(index int) error { return netlink.LinkSetUp(linkOf(index)) })
	case deleteLink:
		return c.on(o.link, func(index int) error { return netlink.LinkDel(linkOf(index)) })
	default:
		return fmt.Errorf("unknown change %T", o)
	}
}

// on calls change with the index of a link.
func (c *conn) on(link string, change func(index int) error) error {
	index, err := c.index(link)
	if err != nil {
		return err
	}
	return change(index)
}

func (c *conn) setQdisc(o setQdisc) error {
	return c.on(o.link, func(index int) error {
		flags := unix.NLM_F_CREATE | unix.NLM_F_REPLACE
		if o.fresh {
			flags = unix.NLM_F_CREATE | unix.NLM_F_EXCL
		}
		attrs := []nl.NetlinkRequestData{kindAttr(o.kind)}
		if o.options != nil {
			attrs = append(attrs, nl.NewRtAttr(nl.TCA_OPTIONS, o.options))
		}
		return taken(c.request(unix.RTM_NEWQDISC, flags, tcMsg(index, o.parent, o.handle, 0), attrs...))
	})
}

func (c *conn) redirect(o addRedirect) error {
	ifb, err := c.index(o.ifb)
	if err != nil {
		return err
	}
	return c.on(o.device, func(index int) error {
		head := tcMsg(index, handleIngress, firstNode, filterInfo(priority(0, o.family), o.family))
		return c.request(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL, head, kindAttr(kindU32), encodeRedirect(ifb))
	})
}

// taken says of a place that was free when it was read that somebody else was
// quicker.
func taken(err error) error {
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: %w", fault.ErrForeign, err)
	}
	return err
}

// linkOf stands for a link of which only the index is looked at.
func linkOf(index int) netlink.Link { return &netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Index: index}} }

func tcMsg(index int, parent, handle, info uint32) *nl.TcMsg {
	return &nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(index), Parent: parent, Handle: handle, Info: info}
}

func kindAttr(kind string) *nl.RtAttr { return nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated(kind)) }

// missing says of the kernel's answer to what it has no module for what that
// is: "no such file" sends people looking for files. The same number with a
// reason that is about something else stays as it is; old kernels give none.
func missing(err error, answer unix.Errno, what string) error {
	if !errors.Is(err, answer) {
		return err
	}
	reason := err.Error()
	for _, about := range []string{"kind is unknown", "classifier not found", "action module", "Unknown device type"} {
		if reason == answer.Error() || strings.Contains(reason, about) {
			return fmt.Errorf("%s: %w (%w)", what, fault.ErrUnsupported, err)
		}
	}
	return err
}
