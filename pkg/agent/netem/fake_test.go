package netem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

const device = "eth0"

var (
	egress  = place{device, fault.Egress}
	ingress = place{device, fault.Ingress}
)

// fakeKernel is a kernel in memory, which answers to changes as the real one
// does and refuses what it refuses.
type fakeKernel struct {
	t     *testing.T
	trees map[place]*tree
	hook  hook
	// each is called before every change; an error is its answer.
	each func(o op) error
	// alone refuses a duplicating netem beside another one.
	alone bool
	// resets is called when a change drops packets while there are faults.
	resets func(o op)
	ops    []op
}

func newFake(t *testing.T) *fakeKernel {
	k := &fakeKernel{t: t, trees: make(map[place]*tree)}
	for _, p := range []place{egress, ingress} {
		k.trees[p] = &tree{place: p, link: device, netems: make(map[uint8]emulator)}
	}
	k.trees[ingress].link, k.trees[egress].led = ifbName(2), true
	return k
}

// engine returns one that works on this kernel, as a new process does.
func (k *fakeKernel) engine(lacks map[fault.Feature]string) *Engine {
	exempt := fault.Exemption{ControlPort: 2332, NodeAddrs: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}, ProbePorts: []uint16{4000}}
	e := New([]api.Device{{Name: device, Index: 2}}, exempt, 256<<20, lacks, slog.New(slog.DiscardHandler))
	e.dial = func() (kernel, error) { return k, nil }
	return e
}

func (k *fakeKernel) close() {}

// port copies.
func (k *fakeKernel) port(string) (port, error) {
	p := port{egress: k.copy(egress), ingress: k.copy(ingress), hook: k.hook}
	p.ingress.led = k.leads()
	return p, nil
}

func (k *fakeKernel) leads() bool {
	return k.trees[ingress].ifb && k.trees[ingress].ifbUp && k.hook.leads()
}

// copy forgets what the kernel does not report.
func (k *fakeKernel) copy(p place) tree {
	t := *k.trees[p]
	t.netems = maps.Clone(t.netems)
	for band, e := range t.netems {
		e.setting.distribution = ""
		if !e.setting.seeded {
			e.setting.seed, e.setting.seeded = 0xfeed, true
		}
		t.netems[band] = e
	}
	for f := range families {
		t.blocks[f] = slices.Clone(t.blocks[f])
		for i := range t.blocks[f] {
			t.blocks[f][i].filters = slices.Clone(t.blocks[f][i].filters)
		}
	}
	return t
}

func (k *fakeKernel) waiting(tree, []uint8) (uint64, error) { return 0, nil }

func (k *fakeKernel) do(o op) error {
	if k.each != nil {
		if err := k.each(o); err != nil {
			return err
		}
	}
	k.ops = append(k.ops, o)
	err := k.doHook(o)
	for _, t := range k.trees {
		err = errors.Join(err, k.doOn(t, o))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o, err)
	}
	return nil
}

// doHook makes changes of the ingress qdisc. That one comes or goes drops what
// is on its way out.
func (k *fakeKernel) doHook(o op) error {
	switch o := o.(type) {
	case setQdisc:
		if o.kind == kindIngress {
			if k.hook.taken != "" || k.hook.present {
				return fault.ErrForeign
			}
			if !k.trees[ingress].ifb && !k.trees[egress].marked {
				k.t.Errorf("%s with nothing to show whose it is", o)
			}
			k.hook.present = true
			k.reset(o)
		}
	case deleteQdisc:
		if o.kind == kindIngress {
			k.hook = hook{}
			k.reset(o)
		}
	case addRedirect:
		if !k.hook.present || !k.trees[ingress].ifb || k.hook.broken[o.family] || k.hook.redirects[o.family] {
			return unix.EINVAL
		}
		k.hook.redirects[o.family] = true
	case deleteRedirect:
		if !k.hook.redirects[o.family] && !k.hook.broken[o.family] {
			return unix.ENOENT
		}
		k.hook.redirects[o.family], k.hook.broken[o.family] = false, false
	}
	return nil
}

// reset notices that packets meet faults of either direction.
func (k *fakeKernel) reset(o op) {
	for _, t := range k.trees {
		leads := func(one filter) bool { return one.band != bandClean }
		if k.resets != nil && (slices.ContainsFunc(t.effective(ipv4), leads) || slices.ContainsFunc(t.effective(ipv6), leads)) {
			k.resets(o)
			return
		}
	}
}

func (k *fakeKernel) doOn(t *tree, o op) error {
	switch o := o.(type) {
	case setQdisc:
		return k.setQdisc(t, o)
	case deleteQdisc:
		return k.deleteQdisc(t, o)
	case addFilter:
		if o.link != t.link {
			return nil
		}
		return k.addFilter(t, o)
	case deleteBlock:
		if o.link == t.link {
			before := len(t.blocks[o.family])
			t.blocks[o.family] = slices.DeleteFunc(t.blocks[o.family], func(b block) bool { return b.index == o.block })
			if len(t.blocks[o.family]) == before {
				return unix.ENOENT
			}
		}
	case addIFB:
		if o.link == t.link {
			t.ifb = true
		}
	case setUp:
		if o.link == t.link {
			t.ifbUp = true
		}
	case deleteLink:
		if o.link == t.link {
			*t = tree{place: t.place, link: t.link, netems: make(map[uint8]emulator)}
			for f := range families {
				k.hook.broken[f], k.hook.redirects[f] = k.hook.broken[f] || k.hook.redirects[f], false
			}
		}
	}
	return nil
}

func (k *fakeKernel) setQdisc(t *tree, o setQdisc) error {
	if o.link != t.link || o.kind == kindIngress {
		return nil
	}
	if t.direction == fault.Ingress && !t.ifb {
		return unix.ENODEV
	}
	switch o.kind {
	case kindPrio:
		if t.taken != "" {
			return fault.ErrForeign
		}
		if t.direction == fault.Egress && !t.root {
			k.reset(o)
		}
		t.root, t.fits = true, true
	case kindFIFO:
		t.clean = true
	case kindNetem:
		if !t.root {
			return unix.ENOENT
		}
		decoded, err := decode(o.options)
		if err != nil {
			return err
		}
		band := uint8(o.parent)
		old := t.netems[band]
		decoded.distribution = old.setting.distribution
		if o.netem.jitter > 0 && o.netem.distribution != "" {
			decoded.distribution = o.netem.distribution
		}
		next := tree{netems: map[uint8]emulator{band: {setting: decoded}}}
		if k.alone && next.mixes(&spec{netems: without(t.netems, band)}) {
			return unix.EINVAL
		}
		t.netems[band] = emulator{handle: o.handle, setting: decoded}
	}
	return nil
}

func without(netems map[uint8]emulator, band uint8) map[uint8]emulator {
	rest := maps.Clone(netems)
	delete(rest, band)
	return rest
}

func (k *fakeKernel) deleteQdisc(t *tree, o deleteQdisc) error {
	switch {
	case o.link != t.link:
	case o.kind == kindPrio:
		k.reset(o)
		*t = tree{place: t.place, link: t.link, netems: make(map[uint8]emulator), led: true}
	case o.kind == kindNetem:
		band := uint8(o.parent)
		if t.netems[band].handle != o.handle {
			return unix.ENOENT
		}
		for f := range families {
			if slices.ContainsFunc(t.effective(f), func(one filter) bool { return one.band == band }) {
				k.t.Errorf("%s while packets are led to it", o)
			}
		}
		delete(t.netems, band)
	}
	return nil
}

func (k *fakeKernel) addFilter(t *tree, o addFilter) error {
	if o.block == markBlock {
		t.marked = true
		return nil
	}
	if _, there := t.netems[o.filter.band]; !there && o.filter.band != bandClean {
		k.t.Errorf("%s before its netem is there", o)
	}
	list := t.blocks[o.family]
	i, found := slices.BinarySearchFunc(list, o.block, func(b block, index int) int { return b.index - index })
	if !found {
		list = slices.Insert(list, i, block{index: o.block})
	}
	if int(o.node-firstNode) != len(list[i].filters) || o.node > lastNode {
		k.t.Errorf("%s behind %d others", o, len(list[i].filters))
	}
	list[i].filters = append(list[i].filters, o.filter)
	t.blocks[o.family] = list
	return nil
}

// failAt fails the n-th change, and with crash all after it.
func (k *fakeKernel) failAt(n int, crash bool) {
	count := 0
	k.each = func(op) error {
		count++
		if count == n || crash && count > n {
			return errInjected
		}
		return nil
	}
}

var errInjected = errors.New("injected")

// packet is a packet from the pod's view, with what the pod calls remote.
type packet struct {
	fault.Packet
	// icmpType is for ICMPv6 only.
	icmpType byte
	// raw are its bytes, by direction.
	raw map[fault.Direction][]byte
}

func (p packet) String() string {
	return fmt.Sprintf("%s %s remote %d local %d type %d", p.Protocol, p.Peer, p.Remote, p.Local, p.icmpType)
}

var protocolNumbers = map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "icmp": unix.IPPROTO_ICMP, "sctp": unix.IPPROTO_SCTP}

// bytes is the packet as it passes in a direction. Fields that must not matter
// are not zero.
func (p packet) bytes(direction fault.Direction) []byte {
	source, destination, remote := p.Local, p.Remote, 16
	if direction == fault.Ingress {
		source, destination, remote = p.Remote, p.Local, 12
	}
	var b []byte
	rest := 20
	if p.Peer.Is4() {
		b = make([]byte, 40)
		b[0], b[1], b[4], b[5], b[8], b[10] = 0x45, 0xb8, 0x12, 0x34, 64, 0xff
		b[9] = protocolNumbers[p.Protocol]
	} else {
		b = make([]byte, 60)
		b[0], b[1], b[4], b[7] = 0x6b, 0x80, 0x12, 64
		b[6] = protocolNumbers[p.Protocol]
		if p.Protocol == "icmp" {
			b[6] = unix.IPPROTO_ICMPV6
		}
		rest, remote = 40, map[int]int{16: 24, 12: 8}[remote]
	}
	copy(b[remote:], p.Peer.AsSlice())
	binary.BigEndian.PutUint16(b[rest:], source)
	binary.BigEndian.PutUint16(b[rest+2:], destination)
	if p.icmpType != 0 {
		b[rest] = p.icmpType
	}
	return b
}

// classify does what the kernel does with filters: the first that matches
// decides; 0 when none does.
func classify(list []filter, b []byte) uint8 {
	for _, f := range list {
		if !slices.ContainsFunc(f.keys, func(k key) bool {
			return int(k.offset)+4 > len(b) || binary.BigEndian.Uint32(b[k.offset:])&k.mask != k.value
		}) {
			return f.band
		}
	}
	return 0
}

// verdict is what happens to a packet: the setting of the netem it meets, none
// when it is clean.
type verdict struct {
	options
	distribution fault.Distribution
	lost         bool
}

func verdictOf(s setting) verdict {
	v := verdict{options: s.options}
	if s.jitter > 0 { // a table without a jitter does nothing
		v.distribution = s.distribution
	}
	return v
}

// verdict is what happens to a packet at a place.
func (k *fakeKernel) verdict(p place, pkt packet) verdict {
	t := k.trees[p]
	band := uint8(bandClean)
	for _, b := range t.blocks[familyOf(pkt.Peer.Is6())] {
		if band = classify(b.filters, pkt.raw[p.direction]); band != 0 {
			break
		}
	}
	if band <= bandClean || !t.root || p == ingress && !k.leads() {
		return verdict{}
	}
	e, there := t.netems[band]
	if !there {
		return verdict{lost: true}
	}
	return verdictOf(e.setting)
}

// expect is what should happen to it, decided without filters.
func expect(e *Engine, faults []fault.Fault, p place, pkt packet) verdict {
	tcp := pkt.Protocol == "tcp"
	node := slices.Contains(e.exempt.NodeAddrs, pkt.Peer) && slices.Contains(e.exempt.ProbePorts, pkt.Local)
	discovery := pkt.Protocol == "icmp" && pkt.Peer.Is6() && pkt.icmpType >= 133 && pkt.icmpType <= 137
	if discovery || tcp && (pkt.Local == e.exempt.ControlPort || pkt.Remote == e.exempt.ControlPort || node) {
		return verdict{}
	}
	meets := fault.FaultFor(faults, p.direction, p.device, pkt.Packet)
	if meets == nil {
		return verdict{}
	}
	return verdictOf(settingFor(meets.Impairment, e.queueMemory))
}

// packets are all combinations of a few peers, protocols and ports.
var packets = makePackets()

func makePackets() []packet {
	var all []packet
	for _, peer := range []string{"10.0.0.1", "10.0.0.9", "10.0.1.9", "192.168.7.7", "fd00::1", "fd00::9", "fd00:1::9", "2001:db8::1"} {
		addr := netip.MustParseAddr(peer)
		for _, protocol := range []string{"tcp", "udp"} {
			for _, ports := range [][2]uint16{{2332, 40000}, {40000, 2332}, {40000, 4000}, {4000, 40000}, {20160, 20180}, {20161, 4001}, {1, 65535}} {
				all = append(all, packet{Packet: fault.Packet{Peer: addr, Protocol: protocol, Remote: ports[0], Local: ports[1]}})
			}
		}
		all = append(all, packet{Packet: fault.Packet{Peer: addr, Protocol: "sctp", Remote: 0}})
		for _, icmpType := range []byte{8, 128, 135, 143} {
			all = append(all, packet{Packet: fault.Packet{Peer: addr, Protocol: "icmp"}, icmpType: icmpType})
		}
	}
	for i, pkt := range all {
		all[i].raw = map[fault.Direction][]byte{fault.Egress: pkt.bytes(fault.Egress), fault.Ingress: pkt.bytes(fault.Ingress)}
	}
	return all
}

func prefixes(all ...string) []netip.Prefix {
	var found []netip.Prefix
	for _, one := range all {
		found = append(found, netip.MustParsePrefix(one))
	}
	return found
}

func portRange(first, last uint16) []api.PortRange {
	return []api.PortRange{{First: first, Last: last}}
}
