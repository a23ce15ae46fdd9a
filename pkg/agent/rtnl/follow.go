package rtnl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// groupNextHop is RTNLGRP_NEXTHOP (include/uapi/linux/rtnetlink.h).
const groupNextHop = 32

// Run calls changed at once, and then whenever the kernel reports a change, until
// ctx ends or changed fails. Links says whether an interface that is not the
// agent's own has changed, also if it looks the same by now: it may have been
// deleted and made again. Otherwise only routes have changed.
//
// Changes that come together are one call. When the kernel has dropped reports
// because there were too many (ENOBUFS), everything may have changed.
func (f *Follower) Run(ctx context.Context, changed func(links bool) error) error {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, groupNextHop)
	if err != nil {
		return fmt.Errorf("subscribe to rtnetlink: %w", err)
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, socket.Close)()
	if err := changed(true); err != nil {
		return err
	}
	for {
		links, routes, err := receiveAll(socket)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("receive from rtnetlink: %w", err)
		case links || routes:
			if err := changed(links); err != nil {
				return err
			}
		}
	}
}

// receiveAll waits for reports of the kernel, takes all that are there, and says
// what they are about.
func receiveAll(socket *nl.NetlinkSocket) (links, routes bool, err error) {
	wait := &unix.Timeval{}
	for {
		if err := socket.SetReceiveTimeout(wait); err != nil {
			return false, false, err
		}
		messages, _, err := socket.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			links, routes = true, true
		case errors.Is(err, unix.EAGAIN): // that was all
			return links, routes, nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return false, false, err
		}
		for _, m := range messages {
			if m.Header.Type == unix.RTM_NEWLINK || m.Header.Type == unix.RTM_DELLINK {
				links = links || isOthers(m)
			} else {
				routes = true
			}
		}
		least := unix.NsecToTimeval(time.Microsecond.Nanoseconds())
		wait = &least
	}
}

// isOthers reports whether a message about a link is about one that the agent
// has not made, and not about loopback.
func isOthers(m syscall.NetlinkMessage) bool {
	if len(m.Data) < unix.SizeofIfInfomsg {
		return false
	}
	head := nl.DeserializeIfInfomsg(m.Data)
	attrs, err := nl.ParseRouteAttr(m.Data[unix.SizeofIfInfomsg:])
	return err == nil && head.Flags&unix.IFF_LOOPBACK == 0 && !slices.ContainsFunc(attrs, func(a syscall.NetlinkRouteAttr) bool {
		return a.Attr.Type == unix.IFLA_IFNAME && strings.HasPrefix(string(a.Value), ownPrefix)
	})
}
