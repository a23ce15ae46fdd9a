package netem

import "slices"

// replaceFilters decides how one family's filters, in the blocks that were
// found, become those of one list in one block. Lists are replaced and not
// edited, because packets must meet their old or their new fault at every
// moment. Why they do, with the numbers in the code:
//
// Call old all filters found, in their order, and new the list. A packet takes
// the first filter that matches.
//
//  1. If a block already has the new list, nothing is added. Otherwise a block
//     is added before or behind all others, its filters in their order. What is
//     there of it is always a beginning of new. So a packet's first match in it
//     is also its first match in new.
//     Before old: a packet with a match in the new block takes new, any other
//     takes old.
//     Behind old: a packet with a match in old takes old. One without takes new,
//     or still matches nothing, as in old.
//  2. The other blocks are deleted from the last to the first, each in one
//     request. What is left of them is always a beginning of old. So a packet
//     takes old if its match there is left and not behind its match in new;
//     otherwise it takes new.
//  3. There is no room only if blocks are in use at both ends, which agents
//     that were killed on the way can leave. Then the last block is deleted
//     first. A packet whose match was in it matches nothing until step 1.
func replaceFilters(link string, f family, found []block, list []filter) []op {
	same := slices.IndexFunc(found, func(b block) bool { return sameFilters(b.filters, list) })
	switch {
	case same >= 0:
		return deleteBlocks(link, f, slices.Delete(slices.Clone(found), same, same+1)) // 2
	case len(list) == 0:
		return deleteBlocks(link, f, found) // 2
	}
	var ops []op
	for !hasRoom(found) {
		last := len(found) - 1
		ops = append(ops, deleteBlocks(link, f, found[last:])...) // 3
		found = found[:last]
	}
	ops = append(ops, addBlock(link, f, freeBlock(found), list)...) // 1
	return append(ops, deleteBlocks(link, f, found)...)             // 2
}

// addBlock adds the filters of a list in their order.
func addBlock(link string, f family, index int, list []filter) []op {
	ops := make([]op, 0, len(list))
	for i, one := range list {
		ops = append(ops, addFilter{link: link, block: index, family: f, node: firstNode + uint32(i), filter: one})
	}
	return ops
}

// deleteBlocks deletes blocks from the last to the first.
func deleteBlocks(link string, f family, found []block) []op {
	var ops []op
	for _, b := range slices.Backward(found) {
		ops = append(ops, deleteBlock{link: link, block: b.index, family: f})
	}
	return ops
}

// hasRoom reports whether there is an index before or behind the blocks in use.
func hasRoom(used []block) bool {
	return len(used) == 0 || used[0].index > 0 || used[len(used)-1].index < maxBlocks-1
}

// freeBlock returns the index before the blocks in use, or the one behind them
// where there is none before.
func freeBlock(used []block) int {
	switch {
	case len(used) == 0:
		return 0
	case used[0].index > 0:
		return used[0].index - 1
	default:
		return used[len(used)-1].index + 1
	}
}
