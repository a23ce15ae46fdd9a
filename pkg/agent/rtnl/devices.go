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
// interface that is up and not loopback. A default route with several next hops
// has the interfaces of all of them. The error says what there is to choose from.
func FindDevices(list string) ([]api.Device, error) {
	links, err := Dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	links = slices.DeleteFunc(links, func(l netlink.Link) bool { return strings.HasPrefix(l.Attrs().Name, ownPrefix) })
	switch list {
	case "":
		return defaultDevices(links)
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

// defaultDevices returns the interfaces of the first default route that has any,
// else the only one.
func defaultDevices(links []netlink.Link) ([]api.Device, error) {
	routes, err := defaultRoutes()
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		var found []api.Device
		for _, h := range r.hops {
			i := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Index == h.link })
			if i < 0 {
				continue
			}
			if d := (api.Device{Name: links[i].Attrs().Name, Index: h.link}); !slices.Contains(found, d) {
				found = append(found, d)
			}
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	found := up(links)
	if len(found) != 1 {
		return nil, fmt.Errorf("no default route, and %d interfaces are up: name one of: %s", len(found), names(links))
	}
	return found, nil
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
