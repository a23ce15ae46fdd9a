package netem

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/fault"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
)

// A filter leads the packets it matches to one band. Filters are tried in
// order of priority, and the kernel keeps one protocol per priority.
type filter struct {
	priority uint16
	protocol uint16 // ETH_P_*, host byte order
	band     uint32 // class of the root
	keys     []key  // ANDed; none matches every packet of the protocol
}

// key compares one big-endian word of the packet, counted from the start of
// the network header. Equivalent to `match u32 value mask at offset`.
type key struct {
	offset      int32
	mask, value uint32
}

// Priorities. The exemptions come before the two filters that match all.
const (
	priorityExemptIPv4 = 1 + iota
	priorityExemptIPv6
	priorityAllIPv4
	priorityAllIPv6
)

// switchFilters are the two that switch the fault on.
func switchFilters() []filter {
	return []filter{
		{priority: priorityAllIPv4, protocol: unix.ETH_P_IP, band: bandDelayed},
		{priority: priorityAllIPv6, protocol: unix.ETH_P_IPV6, band: bandDelayed},
	}
}

// exemptFilters lead to the clean band what no fault touches: neighbour
// discovery, the agent's own port in both directions, and the answers to
// kubelet's probes. They look where the ports are in packets without IP
// options, extension headers or fragmentation, as TCP sends them.
func exemptFilters(exempt fault.Exemption) []filter {
	var filters []filter
	// Router and neighbour solicitation and advertisement, redirect (RFC 4861).
	for icmpType := uint32(133); icmpType <= 137; icmpType++ {
		filters = append(filters, ipv6Exemption(
			key{offset: 4, mask: 0x0000ff00, value: unix.IPPROTO_ICMPV6 << 8},
			key{offset: 40, mask: 0xff000000, value: icmpType << 24}))
	}
	control := uint32(exempt.ControlPort)
	for _, ports := range []struct{ mask, value uint32 }{
		{mask: 0xffff0000, value: control << 16}, // source
		{mask: 0x0000ffff, value: control},       // destination
	} {
		filters = append(filters,
			ipv4TCPExemption(key{offset: 20, mask: ports.mask, value: ports.value}),
			ipv6TCPExemption(key{offset: 40, mask: ports.mask, value: ports.value}))
	}
	for _, node := range exempt.NodeAddrs {
		for _, port := range exempt.ProbePorts {
			filters = append(filters, probeExemption(node, uint32(port)))
		}
	}
	return filters
}

// probeExemption matches TCP from a probed port to a node's address.
func probeExemption(node netip.Addr, port uint32) filter {
	source := func(offset int32) key { return key{offset: offset, mask: 0xffff0000, value: port << 16} }
	if node.Is4() {
		addr := node.As4()
		return ipv4TCPExemption(key{offset: 16, mask: 0xffffffff, value: binary.BigEndian.Uint32(addr[:])}, source(20))
	}
	addr := node.As16()
	var keys []key
	for i := range 4 {
		keys = append(keys, key{offset: int32(24 + 4*i), mask: 0xffffffff, value: binary.BigEndian.Uint32(addr[4*i:])})
	}
	return ipv6TCPExemption(append(keys, source(40))...)
}

func ipv4TCPExemption(keys ...key) filter {
	tcp := []key{
		{offset: 0, mask: 0x0f000000, value: 0x05000000}, // header of 20 bytes, so that the ports are at 20
		{offset: 4, mask: 0x00001fff, value: 0},          // first or only fragment
		{offset: 8, mask: 0x00ff0000, value: unix.IPPROTO_TCP << 16},
	}
	return filter{priority: priorityExemptIPv4, protocol: unix.ETH_P_IP, band: bandClean, keys: append(tcp, keys...)}
}

func ipv6TCPExemption(keys ...key) filter {
	return ipv6Exemption(append([]key{{offset: 4, mask: 0x0000ff00, value: unix.IPPROTO_TCP << 8}}, keys...)...)
}

func ipv6Exemption(keys ...key) filter {
	return filter{priority: priorityExemptIPv6, protocol: unix.ETH_P_IPV6, band: bandClean, keys: keys}
}

// sameFilters compares two sets, since the kernel reports filters in its own
// order.
func sameFilters(a, b []filter) bool {
	return slices.EqualFunc(sorted(a), sorted(b), func(x, y filter) bool { return compareFilters(x, y) == 0 })
}

func sorted(filters []filter) []filter {
	return slices.SortedFunc(slices.Values(filters), compareFilters)
}

func compareFilters(a, b filter) int {
	return cmp.Or(
		cmp.Compare(a.priority, b.priority),
		cmp.Compare(a.protocol, b.protocol),
		cmp.Compare(a.band, b.band),
		slices.CompareFunc(a.keys, b.keys, func(x, y key) int {
			return cmp.Or(cmp.Compare(x.offset, y.offset), cmp.Compare(x.mask, y.mask), cmp.Compare(x.value, y.value))
		}))
}

// addFilter puts one filter on the root qdisc. Equivalent to `tc filter add
// dev LINK parent 7de1: protocol P prio N u32 match ... flowid BAND`.
func addFilter(link int, f filter) error {
	sel := &nl.TcU32Sel{Flags: nl.TC_U32_TERMINAL, Keys: []nl.TcU32Key{{}}}
	if len(f.keys) > 0 {
		sel.Keys = nil
	}
	for _, k := range f.keys {
		sel.Keys = append(sel.Keys, nl.TcU32Key{Mask: k.mask, Val: k.value, Off: k.offset})
	}
	err := netlink.FilterAdd(&netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: link, Parent: handleRoot, Priority: f.priority, Protocol: f.protocol},
		ClassId:     f.band,
		Sel:         sel,
	})
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("the kernel has no filter u32 (cls_u32): %w", fault.ErrUnsupported)
	}
	if err != nil {
		return fmt.Errorf("add filter of priority %d: %w", f.priority, err)
	}
	return nil
}

// deleteFilters takes away every filter of one priority; having none is fine.
// Equivalent to `tc filter del dev LINK parent 7de1: prio N`.
func deleteFilters(link int, f filter) error {
	err := netlink.FilterDel(&netlink.U32{ // without a handle it stands for all of them
		FilterAttrs: netlink.FilterAttrs{LinkIndex: link, Parent: handleRoot, Priority: f.priority, Protocol: f.protocol},
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete filters of priority %d: %w", f.priority, err)
	}
	return nil
}

// listFilters returns the filters on our root. A filter that this package
// can't have made is an error, not a filter.
func listFilters(link int) ([]filter, error) {
	handle := &netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Index: link}} // only the index is looked at
	listed, err := rtnl.Dump(func() ([]netlink.Filter, error) { return netlink.FilterList(handle, handleRoot) })
	if err != nil {
		return nil, fmt.Errorf("list filters: %w", err)
	}
	var filters []filter
	for _, l := range listed {
		u32, ok := l.(*netlink.U32)
		if !ok {
			return nil, fmt.Errorf("list filters: a %s filter on %s: %w", l.Type(), netlink.HandleStr(handleRoot), fault.ErrForeign)
		}
		if u32.Sel == nil { // the hash table that holds the filters
			continue
		}
		f := filter{priority: u32.Priority, protocol: u32.Protocol, band: u32.ClassId}
		for _, k := range u32.Sel.Keys {
			if k.Mask != 0 {
				f.keys = append(f.keys, key{offset: k.Off, mask: k.Mask, value: k.Val})
			}
		}
		filters = append(filters, f)
	}
	return filters, nil
}
