package rtnl

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// hop is a next hop of a route.
type hop struct {
	link    int        // the index of its interface
	gateway netip.Addr // not valid if the destination is on the link
}

// route is what a default route says.
type route struct {
	v6       bool
	main     bool   // of the main table
	priority uint32 // the metric; the kernel takes the lowest
	hops     []hop
	object   uint32 // the next-hop object that it uses, 0 for none
}

// attrNextHopID is RTA_NH_ID (include/uapi/linux/rtnetlink.h).
const attrNextHopID = 30

// gateways returns the next hops of default routes, in order and each once. With
// most CNI plugins that is the node, by its address on the pod's link. Kubelet's
// probes come from this address, which may be another than the node's IP address.
func gateways(routes []route) []netip.Addr {
	var all []netip.Addr
	for _, r := range routes {
		for _, h := range r.hops {
			if h.gateway.IsValid() && !slices.Contains(all, h.gateway) {
				all = append(all, h.gateway)
			}
		}
	}
	return all
}

// defaultRoutes returns the unicast default routes. Those of the main table come
// before those of other tables, IPv4 before IPv6, and lower metrics before higher
// ones. A multipath route has several hops, and so has a route that uses a group
// of next-hop objects.
func defaultRoutes() ([]route, error) {
	var routes []route
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		messages, err := dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, &nl.RtMsg{RtMsg: unix.RtMsg{Family: family}})
		if isUnknownFamily(err) {
			continue // a kernel without IPv6 has no such routes
		}
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, m := range messages {
			r, isDefault, err := parseRoute(m)
			if err != nil {
				return nil, fmt.Errorf("parse route: %w", err)
			}
			if isDefault {
				routes = append(routes, r)
			}
		}
	}
	if err := resolveObjects(routes); err != nil {
		return nil, err
	}
	slices.SortStableFunc(routes, compareRoutes)
	return routes, nil
}

func compareRoutes(a, b route) int {
	rank := func(r route) int {
		n := 0
		if !r.main {
			n += 2
		}
		if r.v6 {
			n++
		}
		return n
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.priority, b.priority))
}

func isUnknownFamily(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)
}

// dump returns the answers to a request for a whole table of the kernel.
func dump(request int, answer uint16, head nl.NetlinkRequestData) ([][]byte, error) {
	return Dump(func() ([][]byte, error) {
		r := nl.NewNetlinkRequest(request, unix.NLM_F_DUMP)
		r.AddData(head)
		return r.Execute(unix.NETLINK_ROUTE, answer)
	})
}

// parseRoute reads a message about a route (struct rtmsg and RTA_* in
// include/uapi/linux/rtnetlink.h), and reports whether it is a unicast default
// route that traffic can take.
func parseRoute(message []byte) (r route, isDefault bool, err error) {
	if len(message) < unix.SizeofRtMsg {
		return route{}, false, errors.New("message too short")
	}
	head := nl.DeserializeRtMsg(message)
	if head.Type != unix.RTN_UNICAST || head.Dst_len != 0 || head.Flags&unix.RTM_F_CLONED != 0 {
		return route{}, false, nil
	}
	attrs, err := nl.ParseRouteAttr(message[unix.SizeofRtMsg:])
	if err != nil {
		return route{}, false, err
	}
	r = route{v6: head.Family == unix.AF_INET6, main: head.Table == unix.RT_TABLE_MAIN}
	for _, attr := range attrs {
		switch attr.Attr.Type {
		case unix.RTA_TABLE:
			r.main = number(attr.Value) == unix.RT_TABLE_MAIN
		case unix.RTA_PRIORITY:
			r.priority = number(attr.Value)
		case attrNextHopID:
			r.object = number(attr.Value)
		case unix.RTA_MULTIPATH:
			hops, err := parseMultipath(attr.Value)
			if err != nil {
				return route{}, false, err
			}
			r.hops = append(r.hops, hops...)
		}
	}
	if one := parseHop(attrs); one.link != 0 {
		r.hops = append(r.hops, one)
	}
	return r, true, nil
}

// parseMultipath reads a list of struct rtnexthop, each with attributes.
func parseMultipath(value []byte) ([]hop, error) {
	var hops []hop
	for len(value) >= unix.SizeofRtNexthop {
		length := int(binary.NativeEndian.Uint16(value))
		if length < unix.SizeofRtNexthop || length > len(value) {
			return nil, errors.New("next hop too short")
		}
		attrs, err := nl.ParseRouteAttr(value[unix.SizeofRtNexthop:length])
		if err != nil {
			return nil, err
		}
		one := parseHop(attrs)
		one.link = int(int32(binary.NativeEndian.Uint32(value[4:])))
		hops = append(hops, one)
		value = value[min((length+3)&^3, len(value)):]
	}
	return hops, nil
}
