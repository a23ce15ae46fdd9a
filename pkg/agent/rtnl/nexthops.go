package rtnl

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// parseHop reads the attributes of one next hop: RTA_OIF, RTA_GATEWAY, and
// RTA_VIA, the gateway of another family (struct rtvia).
func parseHop(attrs []syscall.NetlinkRouteAttr) hop {
	var h hop
	for _, attr := range attrs {
		switch value := attr.Value; attr.Attr.Type {
		case unix.RTA_OIF:
			h.link = int(number(value))
		case unix.RTA_GATEWAY:
			h.gateway = address(value)
		case unix.RTA_VIA:
			if len(value) > 2 {
				h.gateway = address(value[2:])
			}
		}
	}
	return h
}

// resolveObjects gives their hops to routes that name only a next-hop object
// (ip-nexthop(8)). The kernel writes out the hops of such routes too, unless the
// sysctl net.ipv4.nexthop_compat_mode is off.
func resolveObjects(routes []route) error {
	var objects map[uint32][]hop
	for i, r := range routes {
		if r.object == 0 || len(r.hops) > 0 {
			continue
		}
		if objects == nil {
			var err error
			if objects, err = nextHopObjects(); err != nil {
				return fmt.Errorf("list next hops: %w", err)
			}
		}
		routes[i].hops = objects[r.object]
	}
	return nil
}

// nextHop is a next-hop object as the kernel reports it: a hop, or a group of
// other objects.
type nextHop struct {
	id    uint32
	hop   hop
	group []uint32
}

// nextHopObjects returns the hops of each next-hop object.
func nextHopObjects() (map[uint32][]hop, error) {
	messages, err := dump(unix.RTM_GETNEXTHOP, unix.RTM_NEWNEXTHOP, nextHopHead{})
	if err != nil {
		return nil, err
	}
	objects, groups := make(map[uint32][]hop), make(map[uint32][]uint32)
	for _, m := range messages {
		n, err := parseNextHop(m)
		if err != nil {
			return nil, err
		}
		groups[n.id] = n.group
		if n.hop.link != 0 {
			objects[n.id] = []hop{n.hop}
		}
	}
	for id, members := range groups { // groups have no groups as members
		for _, member := range members {
			objects[id] = append(objects[id], objects[member]...)
		}
	}
	return objects, nil
}

// parseNextHop reads struct nhmsg and NHA_* (include/uapi/linux/nexthop.h).
func parseNextHop(message []byte) (nextHop, error) {
	if len(message) < unix.SizeofNhmsg {
		return nextHop{}, fmt.Errorf("message of %d bytes", len(message))
	}
	attrs, err := nl.ParseRouteAttr(message[unix.SizeofNhmsg:])
	if err != nil {
		return nextHop{}, err
	}
	var n nextHop
	for _, attr := range attrs {
		switch value := attr.Value; attr.Attr.Type {
		case unix.NHA_ID:
			n.id = number(value)
		case unix.NHA_OIF:
			n.hop.link = int(number(value))
		case unix.NHA_GATEWAY:
			n.hop.gateway = address(value)
		case unix.NHA_GROUP: // struct nexthop_grp: the number, weights
			const size = 8
			for ; len(value) >= size; value = value[size:] {
				n.group = append(n.group, number(value[:4]))
			}
		}
	}
	return n, nil
}

// nextHopHead is an empty struct nhmsg, which asks for all.
type nextHopHead struct{}

func (nextHopHead) Len() int          { return unix.SizeofNhmsg }
func (nextHopHead) Serialize() []byte { return make([]byte, unix.SizeofNhmsg) }

// number reads a number of 32 bits; 0 if there is none.
func number(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}

// address reads an IP address; it is not valid if there is none.
func address(value []byte) netip.Addr {
	addr, _ := netip.AddrFromSlice(value)
	return addr.Unmap()
}
