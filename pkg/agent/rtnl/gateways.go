package rtnl

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// gatewayHop is a gateway and the index of the interface that leads to it.
type gatewayHop struct {
	gateway netip.Addr
	device  int
}

// HiddenGateways returns the gateways of all routing tables that a packet to the
// gateway itself, by the gateway's interface, would not be sent to directly. So it
// is where a rule (`ip rule`) picks the table that leads to the gateway, and the
// other tables don't.
func HiddenGateways(v6 bool) ([]netip.Addr, error) {
	hops, err := gatewayHops(v6)
	if err != nil {
		return nil, err
	}
	var hidden []netip.Addr
	for _, hop := range hops {
		routes, err := netlink.RouteGetWithOptions(hop.gateway.AsSlice(), &netlink.RouteGetOptions{OifIndex: hop.device, FIBMatch: true})
		if err == nil && slices.ContainsFunc(routes, hop.isDirect) {
			continue
		}
		if err != nil && !isNoRoute(err) {
			return nil, fmt.Errorf("find the route to gateway %s: %w", hop.gateway, err)
		}
		hidden = append(hidden, hop.gateway)
	}
	return hidden, nil
}

// isDirect reports whether a route leads to the gateway without another one.
func (h gatewayHop) isDirect(route netlink.Route) bool {
	return len(route.MultiPath) == 0 && (len(route.Gw) == 0 || route.Gw.Equal(net.IP(h.gateway.AsSlice())))
}

// isNoRoute reports whether an error is the kernel's answer that there is no
// route, or one that forbids to send.
func isNoRoute(err error) bool {
	for _, errno := range []unix.Errno{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL, unix.ESRCH, unix.ENODEV, unix.ENETDOWN} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// gatewayHops returns each gateway of all routing tables once.
func gatewayHops(v6 bool) ([]gatewayHop, error) {
	family := netlink.FAMILY_V4
	if v6 {
		family = netlink.FAMILY_V6
	}
	allTables := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	routes, err := Dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(family, allTables, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var hops []gatewayHop
	add := func(gateway net.IP, device int) {
		addr, ok := netip.AddrFromSlice(gateway)
		if hop := (gatewayHop{addr.Unmap(), device}); ok && !slices.Contains(hops, hop) {
			hops = append(hops, hop)
		}
	}
	for _, route := range routes {
		add(route.Gw, route.LinkIndex)
		for _, path := range route.MultiPath {
			add(path.Gw, path.LinkIndex)
		}
	}
	return hops, nil
}
