package netem

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
)

// sizeSel and sizeKey are the sizes of struct tc_u32_sel without keys and of
// struct tc_u32_key (include/uapi/linux/pkt_cls.h).
const (
	sizeSel = 16
	sizeKey = 16
)

const (
	kindU32    = "u32"
	kindMirred = "mirred"
	// mirredRedirect is TCA_EGRESS_REDIR. actionStolen is TC_ACT_STOLEN: the
	// packet does not continue on its old way.
	mirredRedirect = 1
	actionStolen   = 4
	// sizeMirred is the size of struct tc_mirred. Its last two numbers are the
	// kind of redirection and the interface.
	sizeMirred = 28
)

// encodeSel returns struct tc_u32_sel of a filter that ends the search. Like tc, it
// writes an empty list of keys as one key that matches everything.
func encodeSel(k keys) []byte {
	if len(k) == 0 {
		k = keys{{}}
	}
	sel := append([]byte{nl.TC_U32_TERMINAL, 0, byte(len(k)), 0}, bytes32(0, 0, 0)...)
	for _, one := range k {
		sel = binary.BigEndian.AppendUint32(sel, one.mask)
		sel = binary.BigEndian.AppendUint32(sel, one.value)
		sel = append(sel, bytes32(uint32(one.offset), 0)...)
	}
	return sel
}

// encodeFilter returns the TCA_OPTIONS of a filter that sends packets to a band. A
// bucket is the handle of the one where it is; 0 for none.
func encodeFilter(f filter, bucket uint32) *nl.RtAttr {
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	if bucket != 0 {
		options.AddRtAttr(nl.TCA_U32_HASH, bytes32(bucket))
	}
	options.AddRtAttr(nl.TCA_U32_CLASSID, bytes32(class(f.band)))
	options.AddRtAttr(nl.TCA_U32_SEL, encodeSel(f.keys))
	return options
}

// encodeRedirect returns the TCA_OPTIONS of a filter that redirects all packets
// to the egress of the interface with an index.
func encodeRedirect(index int) *nl.RtAttr {
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_U32_SEL, encodeSel(nil))
	action := options.AddRtAttr(nl.TCA_U32_ACT, nil).AddRtAttr(nl.TCA_ACT_TAB, nil)
	action.AddRtAttr(nl.TCA_ACT_KIND, nl.ZeroTerminated(kindMirred))
	action.AddRtAttr(nl.TCA_ACT_OPTIONS, nil).AddRtAttr(nl.TCA_MIRRED_PARMS, bytes32(0, 0, actionStolen, 0, 0, mirredRedirect, uint32(index)))
	return options
}

// u32 is a filter as the kernel reports it.
type u32 struct {
	kind     string
	priority uint16
	protocol uint16 // host byte order
	// table is the number of the hash table where it is, from firstRootTable on for
	// that of a priority; bucket and node are its numbers there.
	table   uint32
	bucket  uint8
	node    uint32
	classID uint32
	keys    keys
	// link is the number of the table that it leads to, 0 for none, and byteAt by
	// which byte that is hashed, as far as hashKey can say so.
	link   uint32
	byteAt int32
	// redirect is the index of the interface to which the filter's only action
	// redirects; -1 for any other action or none.
	redirect int
	// isTable is set for a hash table, which holds filters and is none.
	isTable bool
	// simple is set for a filter that does nothing but what its class and keys say.
	// simpleLink is set for one that does nothing but lead all packets to a table.
	simple, simpleLink bool
}

// String names a filter for people: "u32 filter with priority 7".
func (u u32) String() string {
	return fmt.Sprintf("%s filter with priority %d", u.kind, u.priority)
}

// redirection returns the family of a filter that may be one of our redirects,
// and the index of the interface to which it redirects. The kernel reports 0 for
// an interface that is gone. For any other filter the index is -1.
func (u u32) redirection() (family, int) {
	block, f, known := blockOf(u.priority)
	if !known || block != 0 || f.protocol() != u.protocol || u.node != firstNode || len(u.keys) > 0 {
		return ipv4, -1
	}
	return f, u.redirect
}

// parseFilter reads a message about a filter of any kind.
func parseFilter(message []byte) (u32, error) {
	head := nl.DeserializeTcMsg(message)
	u := u32{
		priority: uint16(head.Info >> 16), protocol: networkOrder(uint16(head.Info)),
		table: head.Handle >> 20, bucket: uint8(head.Handle >> 12), node: head.Handle & 0xfff, redirect: -1, isTable: true, simple: true,
	}
	attrs, err := nl.ParseRouteAttr(message[head.Len():])
	if err != nil {
		return u32{}, fmt.Errorf("parse filter: %w", err)
	}
	var options []byte
	for _, attr := range attrs {
		switch attr.Attr.Type {
		case nl.TCA_KIND:
			u.kind = strings.TrimRight(string(attr.Value), "\x00")
		case nl.TCA_CHAIN:
			u.simple = u.simple && slices.Equal(uint32sOf(attr.Value), []uint32{0})
		case nl.TCA_OPTIONS:
			options = attr.Value
		}
	}
	if u.kind != kindU32 {
		u.isTable, u.simple = false, false
		return u, nil
	}
	if err := u.parseOptions(options); err != nil {
		return u32{}, fmt.Errorf("parse filter: %w", err)
	}
	return u, nil
}

func (u *u32) parseOptions(payload []byte) error {
	attrs, err := nl.ParseRouteAttr(payload)
	if err != nil {
		return err
	}
	terminal := false
	for _, attr := range attrs {
		switch value := attr.Value; attr.Attr.Type {
		case nl.TCA_U32_SEL:
			u.isTable = false
			terminal = u.parseSel(value)
		case nl.TCA_U32_CLASSID:
			u.classID = firstOf(value)
		case nl.TCA_U32_ACT:
			u.parseAction(value)
		case nl.TCA_U32_LINK:
			u.link = firstOf(value) >> 20
		case nl.TCA_U32_POLICE, nl.TCA_U32_INDEV, nl.TCA_U32_MARK:
			u.simple = false
		}
	}
	u.setSimple(terminal)
	return nil
}

// setSimple decides whether a filter without anything unusual is simple. A terminal
// one ends the search.
func (u *u32) setSimple(terminal bool) {
	u.simpleLink = u.simple && !u.isTable && !terminal && u.link != 0 && len(u.keys) == 0 && u.classID == 0
	u.simple = u.simple && (u.isTable || terminal && u.link == 0)
}

// firstOf returns the first number of a payload, 0 if there is none.
func firstOf(payload []byte) uint32 {
	if numbers := uint32sOf(payload); len(numbers) > 0 {
		return numbers[0]
	}
	return 0
}

func (u *u32) parseSel(sel []byte) (terminal bool) {
	if len(sel) < sizeSel || len(sel) < sizeSel+int(sel[2])*sizeKey || sel[0]&^nl.TC_U32_TERMINAL != 0 {
		u.simple = false
		return false
	}
	u.byteAt = hashedBy(int32(int16(binary.NativeEndian.Uint16(sel[10:]))), binary.BigEndian.Uint32(sel[12:]))
	for i := range int(sel[2]) {
		one := sel[sizeSel+i*sizeKey:]
		k := key{mask: binary.BigEndian.Uint32(one), value: binary.BigEndian.Uint32(one[4:]), offset: int32(binary.NativeEndian.Uint32(one[8:]))}
		if binary.NativeEndian.Uint32(one[12:]) != 0 { // the offset depends on the packet
			u.simple = false
		}
		if k.mask != 0 {
			u.keys = append(u.keys, k)
		}
	}
	return sel[0] == nl.TC_U32_TERMINAL
}

// parseAction reads the action if it is a single redirection.
func (u *u32) parseAction(payload []byte) {
	u.simple = false
	actions, err := nl.ParseRouteAttr(payload)
	if err != nil || len(actions) != 1 {
		return
	}
	action, err := nl.ParseRouteAttrAsMap(actions[0].Value)
	if err != nil || strings.TrimRight(string(action[nl.TCA_ACT_KIND].Value), "\x00") != kindMirred {
		return
	}
	options, err := nl.ParseRouteAttrAsMap(action[nl.TCA_ACT_OPTIONS].Value)
	if err != nil || len(options[nl.TCA_MIRRED_PARMS].Value) < sizeMirred {
		return
	}
	mirred := uint32sOf(options[nl.TCA_MIRRED_PARMS].Value)
	if mirred[5] == mirredRedirect && mirred[2] == actionStolen {
		u.redirect = int(mirred[6])
	}
}

// filterInfo returns tcm_info of a filter: its priority and its EtherType.
func filterInfo(priority uint16, f family) uint32 {
	return uint32(priority)<<16 | uint32(networkOrder(f.protocol()))
}

// networkOrder converts between the host's byte order and the network's.
func networkOrder(i uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, i))
}
