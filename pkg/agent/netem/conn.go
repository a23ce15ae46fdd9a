package netem

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/rtnl"
)

// kernel is what the engine reads and changes.
type kernel interface {
	// read reads both trees and the hook of each of some devices that is there.
	// With others, it also reads every other interface on which something of ours
	// is left, and ifbs of ours that have lost their device.
	read(devices []string, others bool) (foundDevices, error)
	// waiting returns how many packets wait in the netems of some bands.
	waiting(t foundTree, bands []uint8) (uint64, error)
	// do makes one change. The error wraps fault.ErrUnsupported if the kernel
	// lacks a part, and fault.ErrForeign if somebody else was quicker.
	do(o op) error
	close()
}

// conn is the kernel over one rtnetlink socket. It works in the network
// namespace that the thread was in when the socket was opened.
type conn struct {
	sockets map[int]*nl.SocketHandle
	links   map[string]netlink.Link // by name, as of the last read
}

// dial opens a socket.
func dial() (*conn, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE) // to no group
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	c := &conn{sockets: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}}
	// Kernels before 4.12 refuse this. Their errors then have no reasons, and
	// all else works.
	_ = socket.SetExtAck(true)
	timeout := nl.SocketTimeoutTv
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

// newRequest returns a request that uses our socket.
func (c *conn) newRequest(message, flags int) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(message, flags)
	request.Sockets = c.sockets
	return request
}

// index returns the index of a link by its name.
func (c *conn) index(name string) (int, error) {
	if link, known := c.links[name]; known {
		return link.Attrs().Index, nil
	}
	link, err := c.link(name) // added since
	if err != nil {
		return 0, fmt.Errorf("find %s: %w", name, err)
	}
	return link.Attrs().Index, nil
}

// link reads a link by its name. The error is unix.ENODEV if there is none.
//
// netlink.LinkByName needs a socket of its own, which makes reading a device
// slower by a third or more. If it falls back to a dump, it also reports a link
// that an interrupted dump left out as not found.
func (c *conn) link(name string) (netlink.Link, error) {
	request := c.newRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
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

// request sends one message about a qdisc or a filter and waits for the
// kernel's answer.
func (c *conn) request(message, flags int, head *nl.TcMsg, attrs ...nl.NetlinkRequestData) error {
	request := c.newRequest(message, flags|unix.NLM_F_ACK)
	request.AddData(head)
	for _, attr := range attrs {
		request.AddData(attr)
	}
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// allLinks returns the links by name.
func (c *conn) allLinks() (map[string]netlink.Link, error) {
	messages, err := c.dump(unix.RTM_GETLINK, unix.RTM_NEWLINK, nl.NewIfInfomsg(unix.AF_UNSPEC))
	if err != nil {
		return nil, err
	}
	links := make(map[string]netlink.Link)
	for _, m := range messages {
		link, err := netlink.LinkDeserialize(nil, m)
		if err != nil {
			return nil, err
		}
		links[link.Attrs().Name] = link
	}
	return links, nil
}

// dump returns the messages of one kind.
func (c *conn) dump(message int, answer uint16, head nl.NetlinkRequestData) ([][]byte, error) {
	return rtnl.Dump(func() ([][]byte, error) {
		request := c.newRequest(message, unix.NLM_F_DUMP)
		request.AddData(head)
		return request.Execute(unix.NETLINK_ROUTE, answer)
	})
}

// tcMsg returns struct tcmsg (include/uapi/linux/rtnetlink.h), which heads every
// message about a qdisc or a filter.
func tcMsg(index int, parent, handle, info uint32) *nl.TcMsg {
	return &nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(index), Parent: parent, Handle: handle, Info: info}
}

func kindAttr(kind string) *nl.RtAttr { return nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated(kind)) }
