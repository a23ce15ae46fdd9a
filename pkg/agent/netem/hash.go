package netem

import (
	"math/bits"
	"slices"
)

// The kernel compares a packet with the filters of a list one after the other,
// which takes it some nanoseconds for each. Therefore filters of many peers are in
// hash tables, by a byte of the address (`tc-u32(8)`, u32_classify in
// net/sched/cls_u32.c):
//
//	the list of a block
//	├─ 1     tcp sport 2332                        7de1:1
//	├─ 2     tcp dport 2332                        7de1:1
//	├─ 3     everything: see table 1:, by the last byte of the destination
//	│        ├─ bucket 07   4  dst 10.0.0.7        7de1:2
//	│        ├─ bucket 09   6  dst 10.0.0.9        7de1:3
//	│        │              7  dst 10.1.0.9        7de1:2
//	│        └─ bucket fe   5  dst 10.0.0.254      7de1:2
//	└─ 8     dst 10.0.0.0/8                        7de1:4
//
// A packet that matches nothing in its bucket goes on behind the table. So a
// table changes nothing about which filter a packet meets first, if
//
//   - its filters follow each other in the list,
//   - each of them matches only packets of its own bucket,
//   - in a bucket they are in the order of the list.
//
// All filters of a block are numbered by their place in the list, the one that leads
// to a table too. So the list can be read back, and a part of it that was added is
// its first part.

// leastHashed is how many filters are worth a table.
const leastHashed = 16

// part is filters that follow each other in a list.
type part struct {
	filters []filter
	// byteAt is by which byte of the packet they are hashed, counted from the start
	// of the IP header; 0 if they are not, because all of them are tried anyway.
	byteAt int32
}

// parts divides a list. Filters that compare the same bytes of addresses are in a
// table, if there are enough of them and a byte tells them apart.
func parts(f family, list []filter) []part {
	var all []part
	for len(list) > 0 {
		same := f.addressBytes(list[0].keys)
		n := slices.IndexFunc(list, func(one filter) bool { return f.addressBytes(one.keys) != same })
		if n < 0 {
			n = len(list)
		}
		all = append(all, part{filters: list[:n], byteAt: hashByte(list[:n], same)})
		list = list[n:]
	}
	return all
}

// byteSet has a bit for each byte of a packet, counted from the start of the IP
// header.
type byteSet uint64

// addressBytes returns the bytes of the addresses that keys compare as a whole.
func (f family) addressBytes(k keys) byteSet {
	h := headerOf(f)
	var set byteSet
	for _, one := range k {
		for i := range int32(4) {
			at := one.offset + i
			if at >= h.source && at < h.transport && byte(one.mask>>(24-8*i)) == 0xff {
				set |= 1 << at
			}
		}
	}
	return set
}

// hashByte returns the byte that spreads filters best over the buckets, the last of
// several; 0 if it is not worth it.
func hashByte(filters []filter, from byteSet) int32 {
	best, least := int32(0), len(filters)*len(filters)/2 // half of what one bucket takes
	for ; from != 0 && len(filters) >= leastHashed; from &= from - 1 {
		at := int32(bits.TrailingZeros64(uint64(from)))
		var sizes [buckets]int
		for _, one := range filters {
			bucket, _ := one.keys.bucket(at)
			sizes[bucket]++
		}
		compared := 0 // if each filter is what a packet matches
		for _, size := range sizes {
			compared += size * size
		}
		if compared <= least {
			best, least = at, compared
		}
	}
	return best
}

// bucket returns the value that keys want a byte of the packet to have, and false if
// they match others too.
func (k keys) bucket(at int32) (uint8, bool) {
	for _, one := range k {
		if i := at - one.offset; i >= 0 && i < 4 && byte(one.mask>>(24-8*i)) == 0xff {
			return byte(one.value >> (24 - 8*i)), true
		}
	}
	return 0, false
}

// addBlock adds the filters of a list in their order. A table is led to before it
// has any.
func addBlock(link string, f family, index int, list []filter) []op {
	var ops []op
	place, tables := 0, 0
	next := func() uint32 { place++; return nodeNumber(place - 1) }
	for _, p := range parts(f, list) {
		table := uint32(0)
		if p.byteAt != 0 {
			table = tableNumber(index, f, tables)
			tables++
			ops = append(ops, addTable{link, index, f, table}, addLink{link: link, block: index, family: f, node: next(), table: table, byteAt: p.byteAt})
		}
		for _, one := range p.filters {
			o := addFilter{link: link, block: index, family: f, node: next(), table: table, filter: one}
			if table != 0 {
				o.bucket, _ = one.keys.bucket(p.byteAt)
			}
			ops = append(ops, o)
		}
	}
	return ops
}

// tablesOf returns the tables of blocks.
func tablesOf(blocks []block) []uint32 {
	var all []uint32
	for _, b := range blocks {
		all = append(all, slices.Concat(b.tables, b.unlinked)...)
	}
	return all
}

// deleteTables deletes tables of blocks that were deleted, through a block that is
// there.
func deleteTables(link string, f family, through int, tables []uint32) []op {
	ops := make([]op, 0, len(tables))
	for _, table := range tables {
		ops = append(ops, deleteTable{link: link, block: through, family: f, table: table})
	}
	return ops
}
