package netem

import (
	"cmp"
	"fmt"
	"slices"
)

// addFilters adds the filters on the root to what was found of the tree, with the
// hash tables.
func (t *foundTree) addFilters(all []u32) {
	var ours [families][maxBlocks][]u32
	for _, u := range all {
		block, f, known := blockOf(u.priority)
		switch {
		case u.isClaim():
			t.claimed = true
		case u.isTable && (!known || !isTableOf(u.table, block, f)): // that of a priority, or one of others
		case u.isTable, u.isOfBlock(), u.isLinkOfBlock():
			ours[f][block] = append(ours[f][block], u)
		default:
			t.addForeignFilter(u)
		}
	}
	for f := range families {
		for index, list := range ours[f] {
			if len(list) > 0 {
				t.blocks[f] = append(t.blocks[f], t.readBlock(index, list))
			}
		}
	}
}

func (t *foundTree) addForeignFilter(u u32) {
	t.foreignInside = fmt.Sprintf("%s on %s", u, handleWord(handleRoot))
}

// readBlock reads the filters of a block by their numbers, which are in the order of
// the list; see hash.go.
func (t *foundTree) readBlock(index int, all []u32) block {
	b := block{index: index}
	list := b.readTables(all)
	slices.SortStableFunc(list, func(u, v u32) int { return cmp.Compare(u.node, v.node) })
	place := 0
	var into u32 // the filter that leads to the table in which the list goes on
	for _, u := range list {
		if u.node >= unnumbered && u.node != nodeNumber(place) { // from there on it is ours only if there is none missing before
			t.addForeignFilter(u)
			continue
		}
		place++
		switch {
		case u.simpleLink:
			into = u
			continue
		case u.table >= firstRootTable:
			into = u32{}
		case !u.isInBucket(into):
			t.addForeignFilter(u)
			continue
		}
		b.filters = append(b.filters, filter{keys: u.keys, band: uint8(u.classID)})
	}
	return b
}

// readTables notes the tables of a block and returns its filters. Those in a table
// that nothing leads to do nothing, and are left out.
func (b *block) readTables(all []u32) []u32 {
	linked := make(map[uint32]bool)
	for _, u := range all {
		linked[u.link] = true
	}
	var filters []u32
	for _, u := range all {
		switch {
		case u.isTable && linked[u.table]:
			b.tables = append(b.tables, u.table)
		case u.isTable:
			b.unlinked = append(b.unlinked, u.table)
		case u.table >= firstRootTable || linked[u.table]:
			filters = append(filters, u)
		}
	}
	return filters
}

// isInBucket reports whether a filter is in the table that another one leads to, where
// the packets come that it matches.
func (u u32) isInBucket(link u32) bool {
	bucket, fixed := u.keys.bucket(link.byteAt)
	return u.table == link.link && link.byteAt != 0 && fixed && bucket == u.bucket
}

// isClaim reports whether a filter is the claim, on our root or on an ingress
// qdisc.
func (u u32) isClaim() bool {
	return u.priority == priority(claimBlock, ipv4) && u.simple && u.node == firstNode && u.classID == class(bandClean) && u.keys.equal(claim().keys)
}

// isOfBlock reports whether a filter does just what those of our blocks do:
// send packets of the family that its priority stands for to a band.
func (u u32) isOfBlock() bool {
	block, f, known := blockOf(u.priority)
	return known && u.simple && u.protocol == f.protocol() && u.classID>>16 == handleRoot>>16 &&
		(u.table >= firstRootTable || isTableOf(u.table, block, f))
}

// isLinkOfBlock reports whether a filter does just what those do that lead to a
// hash table of a block.
func (u u32) isLinkOfBlock() bool {
	block, f, known := blockOf(u.priority)
	return known && u.simpleLink && u.protocol == f.protocol() && u.table >= firstRootTable && isTableOf(u.link, block, f)
}
