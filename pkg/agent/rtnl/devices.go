// Package rtnl follows the pod's network over rtnetlink: which interfaces carry
// its traffic, and the addresses of its gateways.
package rtnl

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// AllDevices selects every interface that is up and not loopback.
const AllDevices = "all"

// ownPrefix starts the names of the interfaces that the agent makes itself.
const ownPrefix = "tidelay"

// ErrNotRead reports that the kernel could not be asked. What is there may be as it was.
var ErrNotRead = errors.New("not read")

// Network is what the agent must know of its pod's network.
type Network struct {
	// Devices are the interfaces that were selected. One that is not there now is
	// marked as missing.
	Devices []api.Device
	// Gateways are the next hops of the default routes.
	Gateways []netip.Addr
}

// Follower reads the part of the network that a selection is about, again and
// again. It is for one goroutine.
type Follower struct {
	selection string
	// byRoute are the interfaces of the default route, when there was one.
	byRoute []string
}

// NewFollower returns a follower of a selection: a comma-separated list of names,
// AllDevices, or nothing for the interfaces of the default route.
func NewFollower(selection string) *Follower { return &Follower{selection: selection} }

// Read returns the network as it is now.
//
// A list of names selects these interfaces, whether they are there or not.
// AllDevices selects what is up at the moment. Without a selection it is the
// interface of the IPv4 default route, else that of the IPv6 one; a default route
// with several next hops has several. Their names stay selected when they or the
// route go away. Without a default route it is the only interface that is up and
// not loopback.
//
// With an error, the network has no devices, but may have gateways. The error
// says what there is to choose from, or wraps ErrNotRead.
func (f *Follower) Read() (Network, error) {
	links, err := Dump(netlink.LinkList)
	if err != nil {
		return Network{}, fmt.Errorf("list interfaces: %w: %w", ErrNotRead, err)
	}
	links = slices.DeleteFunc(links, func(l netlink.Link) bool { return strings.HasPrefix(l.Attrs().Name, ownPrefix) })
	routes, err := defaultRoutes()
	if err != nil {
		return Network{}, fmt.Errorf("%w: %w", ErrNotRead, err)
	}
	devices, err := f.choose(links, routes)
	return Network{Devices: devices, Gateways: gateways(routes)}, err
}

// Missing returns those of some interfaces that are not there, by name.
func Missing(devices []string) ([]string, error) {
	links, err := Dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var missing []string
	for _, name := range devices {
		if find(links, name).Missing {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// choose returns the devices of the selection.
func (f *Follower) choose(links []netlink.Link, routes []route) ([]api.Device, error) {
	switch f.selection {
	case "":
		return f.chooseByRoute(links, routes)
	case AllDevices:
		found := up(links)
		if len(found) == 0 {
			return nil, errors.New("no interface but loopback is up")
		}
		return found, nil
	}
	var chosen []api.Device
	for item := range strings.SplitSeq(f.selection, ",") {
		name := strings.TrimSpace(item)
		if name == "" || len(name) >= unix.IFNAMSIZ || strings.ContainsAny(name, "/: \t") {
			return nil, fmt.Errorf("%q is no name of an interface; want one of: %s", name, names(links))
		}
		if isLoopback(links, name) {
			return nil, fmt.Errorf("interface %q is loopback, whose packets are never touched; want one of: %s", name, names(links))
		}
		if d := find(links, name); !slices.Contains(chosen, d) {
			chosen = append(chosen, d)
		}
	}
	return chosen, nil
}

// chooseByRoute returns the interfaces of the default route, also when it has
// gone since, else the only one.
func (f *Follower) chooseByRoute(links []netlink.Link, routes []route) ([]api.Device, error) {
	found := firstRoute(links, routes)
	if isSubset(f.byRoute, found) { // at first, or the route has got more next hops
		f.byRoute = found
	}
	if len(f.byRoute) > 0 {
		var chosen []api.Device
		for _, name := range f.byRoute {
			chosen = append(chosen, find(links, name))
		}
		return chosen, nil
	}
	only := up(links)
	if len(only) != 1 {
		return nil, fmt.Errorf("no default route, and %d interfaces are up: name one of: %s", len(only), names(links))
	}
	return only, nil
}

func isSubset(part, all []string) bool {
	return !slices.ContainsFunc(part, func(name string) bool { return !slices.Contains(all, name) })
}

// firstRoute returns the interfaces of the first default route that has any.
func firstRoute(links []netlink.Link, routes []route) []string {
	for _, r := range routes {
		var found []string
		for _, h := range r.hops {
			i := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Index == h.link })
			if i >= 0 && !slices.Contains(found, links[i].Attrs().Name) {
				found = append(found, links[i].Attrs().Name)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// find returns the device of a name, marked as missing if it is not there.
func find(links []netlink.Link, name string) api.Device {
	for _, link := range links {
		if attrs := link.Attrs(); attrs.Name == name {
			return api.Device{Name: name, Index: attrs.Index}
		}
	}
	return api.Device{Name: name, Missing: true}
}

func isLoopback(links []netlink.Link, name string) bool {
	return slices.ContainsFunc(links, func(l netlink.Link) bool {
		return l.Attrs().Name == name && l.Attrs().RawFlags&unix.IFF_LOOPBACK != 0
	})
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

// Addresses returns the addresses of all interfaces, loopback's too.
func Addresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var addrs []netip.Addr
	for _, one := range all {
		if prefix, err := netip.ParsePrefix(one.String()); err == nil {
			addrs = append(addrs, prefix.Addr())
		}
	}
	return addrs, nil
}
