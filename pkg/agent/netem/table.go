package netem

import (
	"encoding/binary"
	"math/bits"

	"github.com/vishvananda/netlink/nl"
)

const (
	// buckets of a table: as many as a byte has values, and the most that there can
	// be.
	buckets = 256
	// tablesPerBlock is how many tables a list can have. Peers of a length from a
	// whole number of bytes up to the next share one, so that it is four with IPv4
	// and 16 with IPv6.
	tablesPerBlock = 16
	// firstRootTable is the first number that the kernel gives by itself, to the
	// table that a priority starts with.
	firstRootTable = 0x800
)

// tableNumber returns the number of a table, by its place in its block. It goes from
// 1 to 128. tc writes it in hexadecimal, with a colon.
func tableNumber(block int, f family, place int) uint32 {
	return uint32(1 + (block*int(families)+int(f))*tablesPerBlock + place)
}

// isTableOf reports whether a number is that of a table of a block.
func isTableOf(number uint32, block int, f family) bool {
	first := tableNumber(block, f, 0)
	return number >= first && number < first+tablesPerBlock
}

// hashKey returns how a filter says by which byte a table is hashed: the offset of
// four bytes and a mask (sel.hoff and sel.hmask of struct tc_u32_sel).
func hashKey(at int32) (offset int32, mask uint32) {
	return at &^ 3, 0xff << (24 - 8*(at&3))
}

// hashedBy is the inverse of hashKey. It returns 0 for any other key.
func hashedBy(offset int32, mask uint32) int32 {
	at := offset + int32(bits.LeadingZeros32(mask)/8)
	if o, m := hashKey(at); o != offset || m != mask {
		return 0
	}
	return at
}

// encodeLinkSel returns the struct tc_u32_sel of a filter that leads all packets to a
// table, with the key by which that is hashed.
func encodeLinkSel(byteAt int32) []byte {
	sel := encodeSel(nil)
	offset, mask := hashKey(byteAt)
	sel[0] = 0 // not terminal
	binary.NativeEndian.PutUint16(sel[10:], uint16(offset))
	binary.BigEndian.PutUint32(sel[12:], mask)
	return sel
}

// encodeTable returns the TCA_OPTIONS of a hash table.
func encodeTable() *nl.RtAttr {
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_U32_DIVISOR, bytes32(buckets))
	return options
}

// encodeLink returns the TCA_OPTIONS of a filter that leads to a hash table.
func encodeLink(o addLink) *nl.RtAttr {
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_U32_LINK, bytes32(tableHandle(o.table, 0)))
	options.AddRtAttr(nl.TCA_U32_SEL, encodeLinkSel(o.byteAt))
	return options
}

// tableHandle returns the handle of a table or a bucket of it (TCA_U32_HASH). Filters
// in the bucket have theirs with their number added.
func tableHandle(table uint32, bucket uint8) uint32 { return table<<20 | uint32(bucket)<<12 }
