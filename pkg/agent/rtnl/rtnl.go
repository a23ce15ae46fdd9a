// Package rtnl reads the pod's network over rtnetlink: which interfaces carry
// its traffic, and the addresses of its gateways.
package rtnl

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// AllDevices asks FindDevices for every interface.
const AllDevices = "all"

// ownPrefix starts the names of the interfaces that the agent makes itself.
const ownPrefix = "tidelay"

// FindDevices returns the interfaces of a comma-separated list of names, or for
// AllDevices all that are up and not loopback. For an empty list it returns the
// interface of the IPv4 default route, else that of the IPv6 one, else the only
// interface that is up and not loopback. The error says what there is to choose
// from.
func FindDevices(list string) ([]api.Device, error) {
	links, err := Dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	links = slices.DeleteFunc(links, func(l netlink.Link) bool { return strings.HasPrefix(l.Attrs().Name, ownPrefix) })
	switch list {
	case "":
		device, err := defaultDevice(links)
		return []api.Device{device}, err
	case AllDevices:
		found := up(links)
		if len(found) == 0 {
			return nil, errors.New("no interface but loopback is up")
		}
		return found, nil
	}
	var found []api.Device
	for name := range strings.SplitSeq(list, ",") {
		device, err := named(links, strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(found, device) {
			found = append(found, device)
		}
	}
	return found, nil
}

// defaultDevice returns the interface of the default route, else the only one.
func defaultDevice(links []netlink.Link) (api.Device, error) {
	routes, err := defaultRoutes()
	if err != nil {
		return api.Device{}, err
	}
	for _, route := range routes {
		for _, link := range links {
			if index := link.Attrs().Index; index == route.LinkIndex {
				return api.Device{Name: link.Attrs().Name, Index: index}, nil
			}
		}
	}
	found := up(links)
	if len(found) != 1 {
		return api.Device{}, fmt.Errorf("no default route, and %d interfaces are up: name one of: %s", len(found), names(links))
	}
	return found[0], nil
}

func named(links []netlink.Link, name string) (api.Device, error) {
	for _, link := range links {
		attrs := link.Attrs()
		if attrs.Name != name {
			continue
		}
		if attrs.RawFlags&unix.IFF_LOOPBACK != 0 {
			return api.Device{}, fmt.Errorf("interface %q is loopback, whose packets are never touched; want one of: %s", name, names(links))
		}
		return api.Device{Name: name, Index: attrs.Index}, nil
	}
	return api.Device{}, fmt.Errorf("no interface %q; want one of: %s", name, names(links))
}

// up returns the interfaces that are up and not loopback. Some kernels create
// tunnel interfaces in every namespace; those are down.
func up(links []netlink.Link) []api.Device {
	var found []api.Device
	for _, link := range links {
		attrs := link.Attrs()
		if attrs.RawFlags&unix.IFF_LOOPBACK == 0 && attrs.RawFlags&unix.IFF_UP != 0 {
			found = append(found, api.Device{Name: attrs.Name, Index: attrs.Index})
		}
	}
	return found
}

func names(links []netlink.Link) string {
	var all []string
	for _, link := range links {
		if link.Attrs().RawFlags&unix.IFF_LOOPBACK == 0 {
			all = append(all, link.Attrs().Name)
		}
	}
	if len(all) == 0 {
		return "(there is none but loopback)"
	}
	return strings.Join(all, ", ")
}

// Gateways returns the next hops of the default routes. With most CNI plugins
// that is the node, by its address on the pod's link. Kubelet's probes come from
// this address, which may be another than the node's IP address.
func Gateways() ([]netip.Addr, error) {
	routes, err := defaultRoutes()
	if err != nil {
		return nil, err
	}
	var gateways []netip.Addr
	for _, route := range routes {
		if addr, ok := netip.AddrFromSlice(route.Gw); ok {
			gateways = append(gateways, addr.Unmap())
		}
	}
	return gateways, nil
}

// defaultRoutes returns the unicast default routes of the main table, IPv4
// before IPv6.
func defaultRoutes() ([]netlink.Route, error) {
	var defaults []netlink.Route
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := Dump(func() ([]netlink.Route, error) { return netlink.RouteList(nil, family) })
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // a kernel without IPv6 has no such routes
		}
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, route := range routes {
			if isDefault(route) {
				defaults = append(defaults, route)
			}
		}
	}
	return defaults, nil
}

func isDefault(route netlink.Route) bool {
	if route.Type != unix.RTN_UNICAST {
		return false
	}
	if route.Dst == nil {
		return true
	}
	ones, _ := route.Dst.Mask.Size()
	return ones == 0 && route.Dst.IP.IsUnspecified()
}

// DeviceTo returns the name of the interface by which packets to an address
// leave. The error says why there is no route. Where equal routes share the
// traffic, another connection can leave by another interface.
func DeviceTo(addr netip.Addr) (string, error) {
	routes, err := netlink.RouteGet(addr.AsSlice())
	if err != nil {
		return "", fmt.Errorf("find route to %s: %w", addr, err)
	}
	if len(routes) == 0 {
		return "", fmt.Errorf("find route to %s: there is none", addr)
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return "", fmt.Errorf("find interface to %s: %w", addr, err)
	}
	return link.Attrs().Name, nil
}

// dumpAttempts bounds how often Dump tries. Each interruption means that the
// kernel's tables changed during one dump, so ten in a row are very unlikely.
const dumpAttempts = 10

// Dump calls list until the kernel answers with one consistent dump. When the
// kernel's tables change during a dump, entries may be missing, and the kernel
// marks the dump with NLM_F_DUMP_INTR. After ten such dumps the error is
// netlink.ErrDumpInterrupted.
func Dump[T any](list func() ([]T, error)) ([]T, error) {
	var err error
	for range dumpAttempts {
		var all []T
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return nil, err
}
