package netem

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// read implements kernel with one dump of all links and one of all qdiscs.
func (c *conn) read(devices []string, others bool) (foundDevices, error) {
	links, err := c.allLinks()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	qdiscs, err := c.allQdiscs()
	if err != nil {
		return nil, err
	}
	s := snapshot{conn: c, links: links, qdiscs: qdiscs}
	c.links = links
	found := make(foundDevices)
	for name, link := range links {
		wanted := slices.Contains(devices, name) || others && s.isOurs(name, link.Attrs().Index)
		if !wanted {
			continue
		}
		if found[name], err = s.readDevice(link.Attrs()); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	if !others {
		return found, nil
	}
	for name, index := range s.lostIFBs() {
		lost := fmt.Sprintf("interface %d, which is gone,", index)
		if found[lost], err = s.readLost(lost, name); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return found, nil
}

// snapshot is all links and qdiscs of the pod at one moment.
type snapshot struct {
	conn   *conn
	links  map[string]netlink.Link // by name
	qdiscs map[int][]qdisc         // by the index of their link
}

// isOurs reports whether something on a link, which is not an ifb of ours, was
// made by this package.
func (s snapshot) isOurs(name string, index int) bool {
	if strings.HasPrefix(name, ifbPrefix) {
		return false
	}
	_, hasIFB := s.links[ifbName(index)]
	return hasIFB || slices.ContainsFunc(s.qdiscs[index], qdisc.isOurRoot)
}

// lostIFBs returns our ifbs whose device is gone, with the device's index.
func (s snapshot) lostIFBs() map[string]int {
	used := make(map[string]bool)
	for _, link := range s.links {
		used[ifbName(link.Attrs().Index)] = true
	}
	lost := make(map[string]int)
	for name, link := range s.links {
		if index, ok := parseIFBName(name); ok && link.Type() == "ifb" && !used[name] {
			lost[name] = index
		}
	}
	return lost
}

// readLost reads an ifb of ours as the ingress of a device without anything else.
func (s snapshot) readLost(device, ifb string) (foundDevice, error) {
	found := emptyDevice(device, 0, 0, ifb)
	_, err := s.readIFB(&found.ingress)
	return found, err
}

// emptyDevice returns a device on which nothing was found.
func emptyDevice(device string, index, mtu int, ifb string) foundDevice {
	return foundDevice{
		index:   index,
		egress:  foundTree{attachPoint: attachPoint{device, fault.Egress}, link: device, mtu: mtu, netems: make(map[uint8]netemQdisc), receives: true},
		ingress: foundTree{attachPoint: attachPoint{device, fault.Ingress}, link: ifb, mtu: mtu, netems: make(map[uint8]netemQdisc)},
	}
}

// readDevice reads both trees and the hook of a device.
func (s snapshot) readDevice(attrs *netlink.LinkAttrs) (foundDevice, error) {
	index := attrs.Index
	found := emptyDevice(attrs.Name, index, attrs.MTU, ifbName(index))
	if err := s.readTree(&found.egress, index); err != nil {
		return foundDevice{}, err
	}
	ifb, err := s.readIFB(&found.ingress)
	if err != nil {
		return foundDevice{}, err
	}
	qdiscs := s.qdiscs[index]
	i := slices.IndexFunc(qdiscs, func(q qdisc) bool { return q.parent == parentIngress })
	if i < 0 {
		return found, nil
	}
	filters, err := s.conn.filters(index, handleIngress)
	found.hook = hookOf(qdiscs[i], filters, ifb, found.egress.claimed)
	found.ingress.receives = found.ingress.ifbIsUp && found.hook.redirectsAll()
	return found, err
}

// readIFB reads our ifb and the tree on it. It returns the ifb's index, 0 if there
// is none.
func (s snapshot) readIFB(t *foundTree) (int, error) {
	link, there := s.links[t.link]
	switch {
	case !there:
		return 0, nil
	case link.Type() != "ifb":
		t.occupiedBy = fmt.Sprintf("link %s of type %s", t.link, link.Type())
		return 0, nil
	}
	index := link.Attrs().Index
	t.hasIFB, t.ifbIsUp = true, link.Attrs().RawFlags&unix.IFF_UP != 0
	if err := s.readTree(t, index); err != nil {
		return 0, err
	}
	if t.occupiedBy != "" { // it would be deleted together with our ifb
		t.occupiedBy, t.foreignInside = "", t.occupiedBy+" on "+t.link
	}
	return index, nil
}

// readTree reads the root of a link and what is below it.
func (s snapshot) readTree(t *foundTree, index int) error {
	for _, q := range s.qdiscs[index] {
		if err := t.addQdisc(q); err != nil {
			return err
		}
	}
	if !t.hasRoot {
		return nil
	}
	filters, err := s.conn.filters(index, handleRoot)
	t.addFilters(filters)
	return err
}
